"""Built-in world: synthetic scenes with exact masks, their captions, and the models trained on them.

- `scenes`: data classes of scenes and their renderer, with an exact mask of each object.
- `sampling` and `crowds`: random scenes for training, evaluation and the autoencoder.
- `icons`, `icons_nature`, `icons_objects`, `pen`, `painting`, `palette`, `backdrops`, `anchors`: shapes,
  colors and drawing routines of the renderer.
- `captions` and `lexicon`: captions in Portuguese and English.
- `worlds`: sets of objects and words that a model is trained on.
- `vocabulary` and `related_words`: detection of unknown prompt words and suggestions for them.
- `training`: training of diffusers pipelines on scenes and captions.
- `weights/`: trained models (`promptweight.models.BUILTIN_MODELS`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
