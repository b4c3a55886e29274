"""From heat to pictures that a person reads: overlays, several words at once, contact sheets.

    from promptweight.render import overlay, sheet
    overlay(image, heat, label="gato", weight=1.4).save("gato.png")

Heat is any array of the shape (height, width); nothing here knows models or prompts.
"""

from promptweight.render.colormaps import COLORMAPS, WORD_COLORS
from promptweight.render.contact_sheet import sheet
from promptweight.render.overlay import UPSCALE, enlarged, overlay, overlay_words

__all__ = ["COLORMAPS", "UPSCALE", "WORD_COLORS", "enlarged", "overlay", "overlay_words", "sheet"]
