"""Heat laid over a picture: one word in the colors of a map, or several words in one color each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptweight.errors import SettingError
from promptweight.render.colormaps import WORD_COLORS, colorize
from promptweight.render.heat import Heat, as_heat, gaussian_blur, heat_range, normalize, resize
from promptweight.render.labels import append_below, draw_legend_strip, draw_word_strip

UPSCALE = 512
"""The length in pixels of the longer side that small pictures are enlarged to."""


def overlay(
    image: Image.Image,
    heat: Any,
    *,
    colormap: str = "inferno",
    alpha: float = 0.85,
    upscale: int | None = UPSCALE,
    label: str | None = None,
    weight: float | None = None,
    scale: tuple[float, float] | None = None,
) -> Image.Image:
    """Return `image` with `heat` over it; where there is no heat, the picture itself stays visible.

    Args:
        image: the picture.
        heat: raw attention, shape (height, width), any size: array, tensor or `HeatMap`.
        colormap: one of `colormaps.COLORMAPS`.
        alpha: how much the hottest place covers, 0 (nothing) .. 1 (all).
        upscale: the longer side in pixels that a smaller picture is enlarged to; None leaves the size alone.
        label: the word: a strip with it, its weight and the color scale is put under the picture.
        weight: the word's weight, written after the label.
        scale: the values shown as no heat and as full heat; by default the lowest and highest of `heat`.
            Give the same scale to several overlays to compare them.

    Raises:
        SettingError: a value outside its range, a color map that does not exist, a `heat` without two axes.
    """
    _check_alpha(alpha)
    field = as_heat(heat)
    base = enlarge(image, upscale)
    shown = _spread(field, base.size, scale)
    picture = _blend(base, colorize(shown, colormap), alpha * _visibility(shown))
    if label is None:
        return picture
    ends = heat_range(field) if scale is None else scale
    return append_below(picture, draw_word_strip(picture.width, label, weight, colormap, ends))


def overlay_words(
    image: Image.Image,
    heats: Sequence[Any],
    labels: Sequence[str],
    *,
    weights: Sequence[float | None] | None = None,
    alpha: float = 0.75,
    upscale: int | None = UPSCALE,
) -> Image.Image:
    """Return `image` with several words over it, each in a color of its own that the strip below explains.

    Each place takes the colors of the words in proportion to their heat there. Arguments as in `overlay`;
    `heats`, `labels` and `weights` belong together, one for each word.

    Raises:
        SettingError: a value outside its range, no word at all, or as many labels as there are not heats.
    """
    _check_alpha(alpha)
    if not heats or len(heats) != len(labels) or (weights is not None and len(weights) != len(labels)):
        raise SettingError(
            f"each word needs a heat map and a label; got {len(heats)} maps, {len(labels)} labels"
        )
    base = enlarge(image, upscale)
    fields = np.stack([_spread(as_heat(heat), base.size) for heat in heats])  # (words, height, width)
    visibility = _visibility(fields)
    colors = [WORD_COLORS[index % len(WORD_COLORS)] for index in range(len(labels))]
    total = np.maximum(visibility.sum(axis=0), 1e-6)
    mixed = np.einsum("whx,wc->hxc", visibility / total, np.array(colors, dtype=np.float32))
    picture = _blend(base, mixed, alpha * visibility.max(axis=0))
    return append_below(picture, draw_legend_strip(picture.width, labels, weights or [None] * len(labels), colors))


def enlarge(image: Image.Image, longer_side: int | None) -> Image.Image:
    """Return `image` as RGB, its longer side enlarged to `longer_side` pixels; never shrunk."""
    image = image.convert("RGB")
    if longer_side is None or max(image.size) >= longer_side:
        return image
    factor = longer_side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _spread(field: Heat, size: tuple[int, int], scale: tuple[float, float] | None = None) -> Heat:
    """Return raw `field` as 0..1 in a picture's size; on its own scale its peak stays 1 after smoothing."""
    shown = resize(normalize(field, scale), size)
    return normalize(shown) if scale is None else shown


def _visibility(heat: Heat) -> Heat:
    """Return how much of its color a heat shows: nothing at the foot, all of it from three quarters up."""
    rising = np.clip((heat - 0.12) / 0.63, 0, 1)
    return rising * rising * (3 - 2 * rising)


def _blend(base: Image.Image, colors: NDArray[Any], cover: Heat) -> Image.Image:
    """Return `base` covered by `colors` (height, width, 3), `cover` 0..1 (height, width) of them.

    The fine lights and shadows of the picture are laid onto the colors, so that its edges stay to be seen
    where the heat covers it: a yellow sun under yellow heat keeps its rays.
    """
    below = np.asarray(base, dtype=np.float32)
    lightness = np.asarray(base.convert("L"), dtype=np.float32)
    relief = 0.8 * (lightness - gaussian_blur(lightness, sigma=max(base.size) / 42))
    mixed = below + (colors + relief[..., None] - below) * cover[..., None]
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8), mode="RGB")


def _check_alpha(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise SettingError(
            f"alpha is {alpha!r}; it must lie between 0 (no heat seen) and 1 (heat covers the picture)"
        )
