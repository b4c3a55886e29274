"""Interactive heat maps as one HTML string for notebooks: pointing at a word, or focusing it, shows its map.

The string needs no network, library or file: every map is embedded as 8-bit values, and a short script paints
them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.render.colormaps import colormap_table
from promptweight.render.heat import Heat, as_heat, comparable_scales, heat_range, normalize

MAX_CELLS = 64
"""Cells along the longer side of an embedded map; recorded attention is rarely finer."""

MAP_WIDTH = 320
"""Width of a map on the page in CSS pixels."""

SCRIPT = """
document.querySelectorAll(".promptweight-maps:not([data-ready])").forEach((box) => {
  box.dataset.ready = "";
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const colors = bytes(box.dataset.colors);
  const canvas = box.querySelector("canvas");
  const context = canvas.getContext("2d");
  const words = box.querySelectorAll("button");
  const show = (word) => {
    const pixels = context.createImageData(canvas.width, canvas.height);
    bytes(word.dataset.map).forEach((value, cell) => {
      pixels.data.set([...colors.subarray(3 * value, 3 * value + 3), 255], 4 * cell);
    });
    context.putImageData(pixels, 0, 0);
    words.forEach((other) => other.setAttribute("aria-pressed", String(other === word)));
    box.querySelector("output").textContent = word.title;
  };
  words.forEach((word) => {
    ["mouseenter", "focus", "click"].forEach((event) => word.addEventListener(event, () => show(word)));
  });
  if (words.length) show(words[0]);
});
"""


def render_hover_html(maps: Sequence[tuple[str, Any]], colormap: str = "inferno") -> str:
    """Return HTML with a button for each label; the heat map of the active button is painted below.

    The color scales are those of `comparable_scales`; the line under a map gives its mean.

    Args:
        maps: (label, heat) pairs; all heat maps have one shape (height, width).
        colormap: one of `COLORMAPS`.

    Raises:
        SettingError: the color map is unknown, or a heat map is not two-dimensional.
    """
    heats = [as_heat(heat) for _, heat in maps]
    cells = quantize_heats(heats)
    height, width = cells[0].shape if cells else (1, 1)
    buttons = "\n".join(
        _button(label, float(heat.mean()), values)
        for (label, _), heat, values in zip(maps, heats, cells, strict=True)
    )
    return (
        f'<div class="promptweight-maps" data-colors="{_base64(colormap_table(colormap).tobytes())}">\n'
        f"<div>{buttons}</div>\n"
        f'<canvas width="{width}" height="{height}" style="width:{MAP_WIDTH}px;max-width:100%"></canvas>\n'
        f"<div><output></output></div>\n"
        f"</div>\n<script>{SCRIPT}</script>"
    )


def quantize_heats(heats: Sequence[Any]) -> list[Tensor]:
    """Return heat maps on comparable color scales with at most `MAX_CELLS` cells a side.

    Args:
        heats: heat maps of one shape (height, width).

    Returns:
        For each of them a tensor (rows, columns), uint8, whose values are rows of a `colormap_table`.

    Raises:
        SettingError: a heat map is not two-dimensional.
    """
    fields = [as_heat(heat) for heat in heats]
    scales = comparable_scales([heat_range(heat) for heat in fields])
    return [_quantize(heat, scale) for heat, scale in zip(fields, scales, strict=True)]


def _button(label: str, mean: float, cells: Tensor) -> str:
    """Return the button of one label, its map in the attributes."""
    title = f"{label}: mean {mean:.3g}"
    return (
        f'<button type="button" title="{escape(title)}" '
        f'data-map="{_base64(cells.numpy().tobytes())}">{escape(label)}</button>'
    )


def _quantize(heat: Heat, scale: tuple[float, float]) -> Tensor:
    """Return the map on its color scale with at most `MAX_CELLS` cells a side, (height, width) uint8."""
    field = torch.from_numpy(normalize(heat, scale))
    height, width = field.shape
    factor = min(1.0, MAX_CELLS / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return (F.adaptive_avg_pool2d(field[None], size)[0] * 255).round().byte()


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
