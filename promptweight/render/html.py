"""Maps as a piece of HTML for notebooks: hover over a word, or tab to it, and its heat is shown.

One string that needs no network, no library and no file: every map is a small picture of 256 steps inside the
page, and a few lines of script paint it.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from promptweight.maps import AttentionMaps, HeatMap

MAX_CELLS = 64
"""Cells along the longer side of a map on the page; recorded attention is seldom finer."""

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


def render_hover_html(maps: AttentionMaps, colormap: str = "inferno") -> str:
    """The words of the first picture's prompt, and the map of the one that is pointed at.

    Every map is drawn from its own lowest to its own highest value; the line under it tells its mean.

    Args:
        maps: the view whose maps are shown.
        colormap: a name of `promptweight.render`.
    """
    from promptweight.render.colormaps import colormap_table

    heats = [maps.word(word.text, word.occurrence) for word in maps.words]
    small = [bytes_of(heat) for heat in heats]
    height, width = small[0].shape if small else (1, 1)
    buttons = "\n".join(map(button, heats, small))
    return (
        f'<div class="promptweight-maps" data-colors="{encoded(colormap_table(colormap).tobytes())}">\n'
        f"<div>{buttons}</div>\n"
        f'<canvas width="{width}" height="{height}" style="width:{MAP_WIDTH}px;max-width:100%"></canvas>\n'
        f"<div><output></output></div>\n"
        f"</div>\n<script>{SCRIPT}</script>"
    )


def button(heat: HeatMap, small: Tensor) -> str:
    """One word, with its map in its attributes."""
    title = f"{heat.text}: mean {heat.mass:.3g}"
    return (
        f'<button type="button" title="{escape(title)}" '
        f'data-map="{encoded(small.numpy().tobytes())}">{escape(heat.text)}</button>'
    )


def bytes_of(heat: HeatMap) -> Tensor:
    """The normalized map in 256 steps, small enough for a page: (height, width) uint8."""
    height, width = heat.tensor.shape
    scale = min(1.0, MAX_CELLS / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = F.adaptive_avg_pool2d(heat.normalized()[None], size)[0]
    return (small * 255).round().byte()


def encoded(data: bytes) -> str:
    """Bytes as base64 text."""
    return b64encode(data).decode("ascii")
