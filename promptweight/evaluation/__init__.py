"""Measures what a model draws and what its attention maps find, against truths that are known exactly.

The built-in world (`promptweight.mini`) is drawn, so every mask and colour is known: `drawing` asks whether
the model draws what is said, `localisation` whether a word's map finds its thing, and `report` runs both and
holds them against the bars that the built-in models are shipped by.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
