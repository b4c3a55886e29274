"""Widget for notebooks: an image, the attention map of each word, and weights that can be moved.

    from promptweight.widget import PromptWidget

    PromptWidget("mini", "um (gato:1.4) vermelho", seed=1)

It needs `pip install "promptweight[widget]"`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
