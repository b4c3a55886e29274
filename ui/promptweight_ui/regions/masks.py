"""From what was painted to a prompt whose words act where they were painted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.messages import message
from promptweight_ui.compare.grid import no_such_word

if TYPE_CHECKING:
    from promptweight.prompt import Prompt, Span

COLORS = ("#f97316", "#3b82f6", "#22c55e")
"""The colors of the brush, one for each word."""

FINEST = 128
"""Cells along the longer side of a painted mask."""

FAINT = 64
"""Opacity, of 255, under which paint does not count."""

Mask = NDArray[np.float32]
"""1 where a word was painted and 0 elsewhere, (rows, columns)."""

Owners = NDArray[np.uint8]
"""Which of `COLORS` each cell was painted with, from 1, 0 for none: (rows, columns), at most `FINEST`."""


def owners_of(layers: Sequence[Any]) -> Owners | None:
    """Return where each color was painted; None where nothing was.

    Args:
        layers: pictures (rows, columns, 4) uint8, the later ones above the earlier.
    """
    painted = [np.asarray(layer) for layer in layers]
    painted = [layer for layer in painted if layer.ndim == 3 and layer.shape[2] == 4 and layer.size]
    if not painted:
        return None
    size = painted[0].shape[:2]
    owners = np.zeros(size, np.uint8)
    colors = np.array([list(bytes.fromhex(color[1:])) for color in COLORS])
    for layer in painted:
        if layer.shape[:2] != size:
            continue
        distances = ((layer[:, :, None, :3].astype(np.int32) - colors) ** 2).sum(-1)  # (rows, columns, 3)
        owners = np.where(layer[..., 3] >= FAINT, distances.argmin(-1) + 1, owners).astype(np.uint8)
    return _smaller(owners) if owners.any() else None


def masks_of(owners: Owners) -> list[Mask | None]:
    """Return the mask of each of `COLORS`; None for one that was not painted with."""
    masks = [(owners == number).astype(np.float32) for number in range(1, len(COLORS) + 1)]
    return [mask if mask.any() else None for mask in masks]


def _smaller(owners: Owners) -> Owners:
    """Return a map of at most `FINEST` cells a side; a cell has the color of most of it."""
    import torch
    import torch.nn.functional as F

    scale = min(1.0, FINEST / max(owners.shape))
    size = (max(1, round(owners.shape[0] * scale)), max(1, round(owners.shape[1] * scale)))
    each = np.stack([owners == number for number in range(len(COLORS) + 1)]).astype(np.float32)
    return F.adaptive_avg_pool2d(torch.from_numpy(each), size).argmax(0).to(torch.uint8).numpy()


def regional(text: str, places: Mapping[str, Mask], inside: float, outside: float) -> Prompt:
    """Return a prompt whose words have, in attention, one weight where they were painted and one elsewhere.

    Args:
        text: the prompt.
        places: where each word or phrase was painted, (rows, columns) of 0 to 1.
        inside: the weight there, above 0.
        outside: the weight elsewhere, 0 or more; 0 keeps the word out.

    Raises:
        SettingError: nothing was painted, or the weights are outside their range.
        WordNotFoundError: the prompt does not hold a word.
    """
    from promptweight.prompt import parse
    from promptweight.prompt import places as find_places

    if not places:
        raise SettingError(message("regions-empty"))
    if not (0 < inside <= 1000 and 0 <= outside <= 1000):
        raise SettingError(
            message(
                "regions-weights",
                inside=inside,
                outside=outside,
            )
        )
    prompt = parse(text)
    for phrase, mask in places.items():
        found = find_places(prompt, phrase)
        if not found:
            raise WordNotFoundError(no_such_word(phrase))
        region = _log_weights(mask, inside, outside)
        for start, end in found:
            prompt = replace(prompt, spans=tuple(_with_region(prompt.spans, start, end, region)))
    return prompt


def written_weight(text: str, place: int) -> float:
    """Return the weight that the text gives to the word at that place of the clean text."""
    from promptweight.prompt import parse

    return next(
        (span.weight for span in parse(text).spans if span.clean_start <= place < span.clean_end), 1.0
    )


def _log_weights(mask: Mask, inside: float, outside: float) -> Any:
    """Return a region that makes a weight of e act as `inside` within the mask and as `outside` elsewhere.

    A weight w confined to a region m adds m·log w to the logits; with w = e that is m itself, so m may hold
    the logarithm of any weight at any place.
    """
    import torch

    from promptweight.attention import MASK_BIAS
    from promptweight.attention import Mask as Region

    low = math.log(outside) if outside > 0 else MASK_BIAS
    values = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))
    return Region(values * math.log(inside) + (1 - values) * low)


def _with_region(spans: Sequence[Span], start: int, end: int, region: Any) -> Iterator[Span]:
    """Yield spans cut at the ends of a stretch of the clean text; those inside it get the region."""
    for span in spans:
        inside = [place for place in (start, end) if span.clean_start < place < span.clean_end]
        cuts = [span.clean_start, *inside]
        for first, last in zip(cuts, [*cuts[1:], span.clean_end], strict=True):
            offset = first - span.clean_start
            piece = replace(
                span,
                text=span.text[offset : last - span.clean_start],
                clean_start=first,
                clean_end=last,
                start=span.start + offset,
                end=span.start + last - span.clean_start,
            )
            if start <= first and last <= end:
                options = replace(span.options, region=region, mode="logit", to=None)
                piece = replace(piece, weight=math.e, options=options)
            yield piece
