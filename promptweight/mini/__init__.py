"""The built-in world: scenes with exact masks, their captions, and the models trained on them.

`scenes` draws pictures whose masks are known exactly, `captions` describes them in Portuguese and English,
`training` makes diffusers pipelines of both, and `weights/` holds the results
(`promptweight.models.BUILTIN_MODELS`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
