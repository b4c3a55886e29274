"""Test vectors of heat map painting: what Python paints, for the tests of the app's JavaScript.

    python tests/ui/heat_vectors.py

The command writes `static/heat_vectors.json`. `test_heat_vectors.py` checks that the file is up to date, and
`static/heat_painting.test.js` that the app paints the same pixels. Overlays are stored over a black and over
a white image: together they determine color and opacity of every pixel.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from promptweight.render import (
    COLORMAPS,
    colormap_table,
    comparable_scales,
    overlay,
    overlay_words,
    render_hover_html,
    upsample_maps,
)

PATH = Path(__file__).with_name("static") / "heat_vectors.json"
WORDS = ("gato", "vermelho", "um", "constante")
HEIGHT, WIDTH = 6, 9


def build_vectors() -> dict[str, Any]:
    """Return the vectors as plain data."""
    fields = _fields()
    scales = comparable_scales([(float(field.min()), float(field.max())) for field in fields])
    html = render_hover_html(list(zip(WORDS, fields, strict=True)))
    small = torch.from_numpy(fields[0])
    return {
        "colormaps": {name: _base64(colormap_table(name)) for name in COLORMAPS},
        "height": HEIGHT,
        "width": WIDTH,
        "fields": [_rounded(field) for field in fields],
        "scales": [list(scale) for scale in scales],
        "overlays": [
            _over_black_and_white(overlay, field, scale=scale)
            for field, scale in zip(fields, scales, strict=True)
        ],
        "words_overlay": _over_black_and_white(overlay_words, fields[:3], WORDS[:3], scales=scales[:3]),
        "notebook": {
            "colors": re.search(r'data-colors="([^"]*)"', html)[1],
            "maps": re.findall(r'data-map="([^"]*)"', html),
        },
        "enlarged": [
            {"size": size, "values": _rounded(upsample_maps(small, size).numpy())}
            for size in ((HEIGHT, WIDTH), (17, 25), (12, 18))
        ],
    }


def _fields() -> list[NDArray[np.float32]]:
    """Return raw attention of a concentrated, a wide, a nearly constant and a constant map."""
    generator = np.random.default_rng(5)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    peak = 0.4 * np.exp(-((x - 2.5) ** 2 + (y - 2) ** 2) / 4)
    wide = 0.05 + 0.03 * x
    faint = 0.1 + 0.05 * generator.random((HEIGHT, WIDTH))
    constant = np.full((HEIGHT, WIDTH), 0.07)
    return [field.round(5).astype(np.float32) for field in (peak, wide, faint, constant)]


def _over_black_and_white(paint: Any, *arguments: Any, **options: Any) -> dict[str, str]:
    """Return the RGB bytes that `paint` returns for a black and for a white image, without the legend."""
    painted = {}
    for name, level in (("black", 0), ("white", 255)):
        image = Image.new("RGB", (WIDTH, HEIGHT), (level, level, level))
        result = paint(image, *arguments, upscale=None, **options)
        painted[name] = _base64(np.asarray(result)[:HEIGHT])
    return painted


def _rounded(values: NDArray[Any]) -> list[float]:
    return [float(f"{value:.7g}") for value in values.ravel()]


def _base64(values: NDArray[Any]) -> str:
    return b64encode(np.ascontiguousarray(values, dtype=np.uint8).tobytes()).decode("ascii")


def format_vectors() -> str:
    """Return the content of the file."""
    return f"{json.dumps(build_vectors(), indent=1)}\n"


if __name__ == "__main__":
    PATH.write_text(format_vectors(), encoding="utf-8")
