"""Prompt weighting and attention maps for text-to-image diffusion models.

    import promptweight

    result = promptweight.generate("mini", "um (gato:1.4) vermelho", seed=1)
    result.maps.word("gato").overlay(result.images[0]).save("gato.png")

The import is light: torch and diffusers load with the first name that needs them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
