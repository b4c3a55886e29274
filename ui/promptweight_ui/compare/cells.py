"""Payload of a comparison, and of each cell: its file, the map of the word, and its mean."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from promptweight_ui.components.map_payload import MAX_GRID_SIDE, fit_grid
from promptweight_ui.components.picture import share_payload, warnings_payload

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight_ui.compare.grid import Axis


def grid_payload(word: str, across: Axis, down: Axis, total: int, seed: int | None) -> dict[str, Any]:
    """Return the payload of a comparison without its cells."""
    return {
        "word": word,
        "columns": {"kind": across.kind, "values": list(across.values)},
        "rows": {"kind": down.kind, "values": list(down.values)},
        "total": total,
        "seed": seed,
    }


def cell_payload(image: dict[str, Any], result: Result, word: str) -> dict[str, Any]:
    """Return the payload of a result with one image.

    Args:
        image: its image, as `image_payload` returns it.
        result: the result.
        word: the word or phrase of the map; of several occurrences, the first.
    """
    return {
        **image,
        "warnings": warnings_payload(result),
        "shares": [share_payload(each) for of_image in result.shares for each in of_image],
        **_map_payload(result, word),
    }


def _map_payload(result: Result, word: str) -> dict[str, Any]:
    """Return a word's map as bytes, and its mean."""
    import torch.nn.functional as F

    if result.maps is None:
        return {}
    heat = result.maps.word(word)
    height, width = heat.tensor.shape
    size = fit_grid(height, width, MAX_GRID_SIDE)
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
