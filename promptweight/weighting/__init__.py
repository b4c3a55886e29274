"""Prompt weighting as arithmetic on text embeddings; pure tensor functions without a pipeline.

- `methods`: the formulas that weight embeddings, by name in `METHODS`;
- `normalizers`: changes of the weights before a method uses them, by name in `NORMALIZERS`;
- `segments`: weighted segments of a prompt and their masks;
- `logit_bias`: the bias on attention logits that a weight means;
- `names`: the names of weightings, methods and normalizers, for code that starts without torch;
- `weighting`: `Weighting`, how the weights of a prompt act as one value.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
