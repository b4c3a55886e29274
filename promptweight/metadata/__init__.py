"""Generation settings in image files: written for promptweight and AUTOMATIC1111, read from many tools.

- `image_metadata`: metadata of PNG, JPEG, WebP and AVIF files, written and read;
- `a1111`: the infotext, AUTOMATIC1111's settings text;
- `other_tools`: the metadata of ComfyUI, InvokeAI and SwarmUI.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
