"""Painted masks, and prompts whose words have weights confined to them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.messages import message
from promptweight.render import CONSTANTS
from promptweight_ui.components.map_payload import fit_grid
from promptweight_ui.validation import missing_phrase_message

if TYPE_CHECKING:
    from promptweight.prompt import Prompt, Span

COLORS: Mapping[str, str] = CONSTANTS["region_colors"]
"""Colors of the brush by their names, one for each word."""

MAX_CELLS = 128
"""Cells along the longer side of a painted mask."""

MIN_OPACITY = 64
"""Opacity, of 255, below which paint is ignored."""

Mask = NDArray[np.float32]
"""1 inside the region of a word and 0 elsewhere, (rows, columns)."""

ColorIndices = NDArray[np.uint8]
"""Number of the color in `COLORS` of each cell, from 1; 0 for none: (rows, columns), at most `MAX_CELLS`."""


def color_indices(layers: Sequence[Any]) -> ColorIndices | None:
    """Return the color of each cell; None if nothing is painted.

    Args:
        layers: RGBA images (rows, columns, 4) uint8, from bottom to top.
    """
    painted = [np.asarray(layer) for layer in layers]
    painted = [layer for layer in painted if layer.ndim == 3 and layer.shape[2] == 4 and layer.size]
    if not painted:
        return None
    size = painted[0].shape[:2]
    indices = np.zeros(size, np.uint8)
    colors = np.array([list(bytes.fromhex(color[1:])) for color in COLORS.values()])
    for layer in painted:
        if layer.shape[:2] != size:
            continue
        distances = ((layer[:, :, None, :3].astype(np.int32) - colors) ** 2).sum(-1)  # (rows, columns, 3)
        indices = np.where(layer[..., 3] >= MIN_OPACITY, distances.argmin(-1) + 1, indices).astype(np.uint8)
    return _downsample(indices) if indices.any() else None


def color_masks(indices: ColorIndices) -> list[Mask | None]:
    """Return the mask of each of `COLORS`; None for a color without paint."""
    masks = [(indices == number).astype(np.float32) for number in range(1, len(COLORS) + 1)]
    return [mask if mask.any() else None for mask in masks]


def _downsample(indices: ColorIndices) -> ColorIndices:
    """Return a map of at most `MAX_CELLS` cells a side; each cell has its most frequent color."""
    import torch
    import torch.nn.functional as F

    rows, columns = indices.shape
    size = fit_grid(rows, columns, MAX_CELLS)
    each = np.stack([indices == number for number in range(len(COLORS) + 1)]).astype(np.float32)
    return F.adaptive_avg_pool2d(torch.from_numpy(each), size).argmax(0).to(torch.uint8).numpy()


def apply_regions(text: str, masks: Mapping[str, Mask], inside: float, outside: float) -> Prompt:
    """Return a prompt whose words have one weight in attention inside their masks and another elsewhere.

    Args:
        text: the prompt.
        masks: the mask of each word or phrase, (rows, columns) of 0 to 1.
        inside: the weight inside the mask, above 0.
        outside: the weight elsewhere, 0 or more; 0 excludes the word.

    Raises:
        SettingError: `masks` is empty, or a weight is outside its range.
        WordNotFoundError: a phrase is not in the prompt.
    """
    from promptweight.prompt import find_phrase, parse

    if not masks:
        raise SettingError(message("regions-empty"))
    if not (0 < inside <= 1000 and 0 <= outside <= 1000):
        raise SettingError(
            message(
                "regions-weights",
                inside=inside,
                outside=outside,
            )
        )
    prompt = parse(text).at()
    for phrase, mask in masks.items():
        positions = find_phrase(prompt, phrase)
        if not positions:
            raise WordNotFoundError(missing_phrase_message(phrase))
        region = _log_weights(mask, inside, outside)
        for start, end in positions:
            prompt = replace(prompt, spans=tuple(_with_region(prompt.spans, start, end, region)))
    return prompt


def _log_weights(mask: Mask, inside: float, outside: float) -> Any:
    """Return a region with which a weight of e acts as `inside` in the mask and as `outside` elsewhere.

    A weight w confined to a region m adds m·log w to the logits; with w = e that is m itself, so m may hold
    the logarithm of any weight for each position.
    """
    import torch

    from promptweight.attention import Mask as Region
    from promptweight.weighting import MASK_BIAS

    low = math.log(outside) if outside > 0 else MASK_BIAS
    values = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))
    return Region(values * math.log(inside) + (1 - values) * low)


def _with_region(spans: Sequence[Span], start: int, end: int, region: Any) -> Iterator[Span]:
    """Yield spans split at two positions of the clean text; those between them get the region."""
    for span in spans:
        cuts = [each for each in (start, end) if span.clean_start < each < span.clean_end]
        cuts = [span.clean_start, *cuts]
        for first, last in zip(cuts, [*cuts[1:], span.clean_end], strict=True):
            offset = first - span.clean_start
            piece = span._replace(
                text=span.text[offset : last - span.clean_start],
                clean_start=first,
                clean_end=last,
                start=span.start + offset,
                end=span.start + last - span.clean_start,
            )
            if start <= first and last <= end:
                options = replace(span.options, region=region, weighting="attention", steps=None)
                piece = piece._replace(weight=math.e, options=options)
            yield piece
