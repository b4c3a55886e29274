"""What is told of each picture of a comparison: its file, the word's map, and its mean."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from promptweight_ui.components.picture import found_told, remarks_of

if TYPE_CHECKING:
    from promptweight import Result

LONGEST_GRID = 64
"""Cells along the longer side of a map on the page."""


def cell_of(component: Any, result: Result, word: str) -> dict[str, Any]:
    """Return a picture as the page takes it.

    Args:
        component: whose cache the file goes to.
        result: what was made.
        word: the word or phrase whose map is shown: the first of several alike.
    """
    image = result.images[0]
    return {
        "path": kept(component, result),
        "size": [image.width, image.height],
        "seed": str(result.seeds[0]),
        "warnings": remarks_of(result),
        "found": [found_told(each) for of_picture in result.found for each in of_picture],
        **_heat(result, word),
    }


def _heat(result: Result, word: str) -> dict[str, Any]:
    """Return a word's map as bytes, and its mean."""
    import torch.nn.functional as F

    if result.maps is None:
        return {}
    heat = result.maps.word(word)
    height, width = heat.tensor.shape
    scale = min(1.0, LONGEST_GRID / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = F.adaptive_avg_pool2d(heat.tensor[None], size)[0]
    top = float(small.max())
    numbers = (small / max(top, 1e-30) * 255).round().byte()
    return {
        "map": {
            "values": b64encode(numbers.contiguous().numpy().tobytes()).decode("ascii"),
            "rows": size[0],
            "columns": size[1],
            "top": float(f"{top:.5g}"),
        },
        "mass": float(f"{heat.mass:.5g}"),
    }


def kept(component: Any, result: Result) -> str:
    """Write the picture with its settings inside into Gradio's cache; returns the file's path."""
    from gradio.processing_utils import save_bytes_to_cache

    with TemporaryDirectory() as folder:
        file = Path(result.save(folder)[0])
        path = save_bytes_to_cache(file.read_bytes(), file.name, component.GRADIO_CACHE)
    component.temp_files.add(path)  # only files that are known here are handed out and cleaned up
    return str(path)
