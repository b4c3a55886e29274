"""Prompt weights that work and attention you can see, for text-to-image diffusion models.

    import promptweight

    result = promptweight.generate("um (gato:1.4) vermelho", seed=1)
    result.maps.word("gato").overlay(result.images[0]).save("gato.png")

The import is light: torch and diffusers are imported by the first name that needs them.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*__all__, "__version__"]
