"""Rendering of heat maps as images: overlays, contact sheets, labels and HTML.

    from promptweight.render import contact_sheet, overlay
    overlay(image, heat, label="gato", weight=1.4).save("gato.png")

A heat map is any array of shape (height, width); nothing here depends on models or prompts.

- `colormaps`: color tables and the palette of words
- `constants`: colors, color scale and thresholds, shared with the app through `constants.json`
- `heat`: conversion, normalization, resizing and blur of heat maps
- `interpolation`: upsampling of recorded maps with quadratic B-splines
- `overlays`: heat maps blended with an image
- `labels`: text strips and legends
- `contact_sheets`: grids of images with captions
- `html`: interactive heat maps for notebooks
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
