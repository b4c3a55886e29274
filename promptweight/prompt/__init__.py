"""The prompt language: text in, weighted spans of clean text out. Knows no torch.

>>> parse("um (gato:1.4) vermelho").fragments
[('um ', 1.0), ('gato', 1.4), (' vermelho', 1.0)]
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
