"""From heat to pictures that a person reads: overlays, several words at once, contact sheets.

    from promptweight.render import overlay, sheet
    overlay(image, heat, label="gato", weight=1.4).save("gato.png")

Heat is any array of the shape (height, width); nothing here knows models or prompts.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
