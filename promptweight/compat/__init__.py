"""Functions and classes with the names, arguments and results of compel and sd_embed, on promptweight.

A script that weights prompts with one of these libraries changes its import line:

    from promptweight.compat import Compel, ReturnedEmbeddingsType
    from promptweight.compat import get_weighted_text_embeddings_sdxl

An argument whose value promptweight cannot follow raises `SettingError`. `docs/integrations.md` lists where
the numbers differ from those of the libraries, and why.

- `compel`, `compel_pipelines`: `Compel`, and its wrappers for pipelines;
- `sd_embed`: one function for each model family.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
