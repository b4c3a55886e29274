"""Heat map overlays on an image: one word in a color map, or several words in one color each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.render.colormaps import WORD_COLORS, colorize
from promptweight.render.constants import CONSTANTS
from promptweight.render.heat import Heat, as_heat, gaussian_blur, heat_range, normalize, resize
from promptweight.render.labels import append_below, draw_legend_strip, draw_word_strip

UPSCALE = 512
"""Longer side in pixels to which smaller images are enlarged."""


def overlay(
    image: Image.Image,
    heat: Any,
    *,
    colormap: str = "inferno",
    alpha: float = CONSTANTS["overlay_opacity"],
    upscale: int | None = UPSCALE,
    label: str | None = None,
    weight: float | None = None,
    scale: tuple[float, float] | None = None,
) -> Image.Image:
    """Return `image` blended with `heat`; the image stays visible where the heat is low.

    Args:
        image: the image.
        heat: raw attention of shape (height, width), any size: an array, a tensor or a `HeatMap`.
        colormap: one of `colormaps.COLORMAPS`.
        alpha: opacity at the highest heat, 0 (transparent) to 1 (opaque).
        upscale: longer side in pixels to which a smaller image is enlarged; None keeps the size.
        label: the word; adds a strip with the word, its weight and the color bar below the image.
        weight: the word's weight, written after the label.
        scale: the values of no heat and full heat; by default the lowest and highest of `heat`. A common
            scale makes several overlays comparable.

    Raises:
        SettingError: `alpha` is outside 0..1, `colormap` is unknown, or `heat` is not two-dimensional.
    """
    _check_alpha(alpha)
    field = as_heat(heat)
    base = enlarge(image, upscale)
    scaled = _scale_to_image(field, base.size, scale)
    blended = _blend(base, colorize(scaled, colormap), alpha * _visibility(scaled))
    if label is None:
        return blended
    ends = heat_range(field) if scale is None else scale
    return append_below(blended, draw_word_strip(blended.width, label, weight, colormap, ends))


def overlay_words(
    image: Image.Image,
    heats: Sequence[Any],
    labels: Sequence[str],
    *,
    weights: Sequence[float | None] | None = None,
    alpha: float = CONSTANTS["overlay_words_opacity"],
    upscale: int | None = UPSCALE,
    scales: Sequence[tuple[float, float]] | None = None,
) -> Image.Image:
    """Return `image` blended with the heat maps of several words, one color each, and a legend below.

    Every pixel mixes the colors of the words in proportion to their heat there.

    Args:
        image: the image.
        heats: one heat map per word, each as in `overlay`.
        labels: the words.
        weights: the weights of the words, written after the labels.
        alpha: opacity at the highest heat, 0 (transparent) to 1 (opaque).
        upscale: longer side in pixels to which a smaller image is enlarged; None keeps the size.
        scales: for each word the values of no heat and full heat; by default its lowest and highest heat.

    Raises:
        SettingError: `alpha` is outside 0..1, `heats` is empty, or the lengths differ.
    """
    _check_alpha(alpha)
    lengths = {len(each) for each in (heats, labels, weights, scales) if each is not None}
    if lengths != {len(heats)} or not heats:
        raise SettingError(message("overlay-words", heats=len(heats), labels=len(labels)))
    base = enlarge(image, upscale)
    ends: Sequence[tuple[float, float] | None] = scales or [None] * len(heats)
    fields = np.stack(
        [_scale_to_image(as_heat(heat), base.size, scale) for heat, scale in zip(heats, ends, strict=True)]
    )  # (words, height, width)
    visibility = _visibility(fields)
    colors = [WORD_COLORS[index % len(WORD_COLORS)] for index in range(len(labels))]
    total = np.maximum(visibility.sum(axis=0), 1e-6)
    mixed = np.einsum("whx,wc->hxc", visibility / total, np.array(colors, dtype=np.float32))
    blended = _blend(base, mixed, alpha * visibility.max(axis=0))
    legend = draw_legend_strip(blended.width, labels, weights or [None] * len(labels), colors)
    return append_below(blended, legend)


def enlarge(image: Image.Image, longer_side: int | None) -> Image.Image:
    """Return `image` as RGB with a longer side of at least `longer_side` pixels; it is never reduced."""
    image = image.convert("RGB")
    if longer_side is None or max(image.size) >= longer_side:
        return image
    factor = longer_side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _scale_to_image(field: Heat, size: tuple[int, int], scale: tuple[float, float] | None = None) -> Heat:
    """Return raw `field` scaled to 0..1 at the image size; without `scale` its peak stays 1."""
    scaled = resize(normalize(field, scale), size)
    return normalize(scaled) if scale is None else scaled


def _visibility(heat: Heat) -> Heat:
    """Return the opacity of heat 0..1: a smoothstep from 0 at `visibility_start` over `visibility_rise`."""
    ramp = np.clip((heat - CONSTANTS["visibility_start"]) / CONSTANTS["visibility_rise"], 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _blend(base: Image.Image, colors: NDArray[Any], opacity: Heat) -> Image.Image:
    """Return `base` blended with `colors` (height, width, 3) at `opacity` 0..1 (height, width).

    The local contrast of the image is added to the colors, so that its edges stay visible under opaque heat.
    """
    pixels = np.asarray(base, dtype=np.float32)
    lightness = np.asarray(base.convert("L"), dtype=np.float32)
    relief = 0.8 * (lightness - gaussian_blur(lightness, sigma=max(base.size) / 42))
    mixed = pixels + (colors + relief[..., None] - pixels) * opacity[..., None]
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8), mode="RGB")


def _check_alpha(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise SettingError(message("overlay-alpha", alpha=alpha))
