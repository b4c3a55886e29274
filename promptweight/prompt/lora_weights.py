"""Weights of a network tag: in the text encoders, in the denoiser, and by step.

The values are those of AUTOMATIC1111, `<lora:name:te:unet>` or `<lora:name:te=0.5:unet=1>`; a list such as
`1@0,0@0.5` is a weight by step, in the syntax of its extension LoRA Control, which SD.Next also reads.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from promptweight.prompt.literals import ASCII_NUMBER, format_weight, parse_finite
from promptweight.prompt.model import LoraCurve

FOLLOWED = ("te", "unet")
"""Values of a tag that are given by name."""


class TagWeights(NamedTuple):
    """The weights of a network tag.

    Attributes:
        weight: the weight in the denoiser, at its first step if it changes.
        text_encoder_weight: the weight in the text encoders; None if it is the same.
        curve: the weight in the denoiser by step; empty if it is constant.
        faults: the values that are not followed, each with the code of its remark.
    """

    weight: float
    text_encoder_weight: float | None
    curve: LoraCurve
    faults: tuple[tuple[str, str], ...]


def read_tag_weights(values: Sequence[str]) -> TagWeights:
    """Read the values after the name in a tag, as AUTOMATIC1111 does.

    The first value is the weight in the text encoders, the second that in the denoiser, by default the same;
    `te=` and `unet=` have precedence. A weight by step acts in the denoiser; text is encoded once, with the
    weight of the first step.

    >>> read_tag_weights(["0", "1"])[:3], read_tag_weights(["te=0.5", "unet=1"])[:2]
    ((1.0, 0.0, ()), (1.0, 0.5))
    >>> read_tag_weights(["1@0,0@0.5"]).curve
    ((0.0, 1.0), (0.5, 0.0))
    """
    faults: list[tuple[str, str]] = []
    encoder: LoraCurve = ((0.0, 1.0),)
    denoiser: LoraCurve | None = None
    encoder_changes = None
    position = 0
    named = [value for value in values if "=" in value]
    for value in [*(value for value in values if "=" not in value), *named]:
        name, equals, number = value.partition("=")
        if not equals:
            name = FOLLOWED[position] if position < len(FOLLOWED) else ""
            position, number = position + 1, value
        name = name.strip()
        if name not in FOLLOWED:
            faults.append(("tag-option", value))
            continue
        points = _read_weight(number)
        if points is None:
            faults.append(("tag-weight", value))
        elif name == "te":
            encoder, encoder_changes = points, value if len(points) > 1 else None
        else:
            denoiser = points
    if encoder_changes is not None and denoiser is not None:
        faults.append(("tag-text-steps", encoder_changes))
    curve = encoder if denoiser is None else denoiser
    first, text = curve[0][1], encoder[0][1]
    return TagWeights(first, None if first == text else text, curve if len(curve) > 1 else (), tuple(faults))


def _read_weight(text: str) -> LoraCurve | None:
    """Return the points of a number or of a list such as `1@0,0@0.5`; None for anything else."""
    items = [[part.strip() for part in re.split("[@~]", item)] for item in re.split("[,;]", text)]
    if len(items) == 1 and len(items[0]) == 1:
        weight = parse_finite(items[0][0])
        return None if weight is None else ((0.0, weight),)
    points = []
    for index, item in enumerate(items):
        if len(item) == 1 and 0 < index == len(items) - 1:
            item = [*item, "1"]  # the last weight may leave out the end of the run
        if len(item) != 2 or not all(ASCII_NUMBER.fullmatch(part) for part in item):
            return None
        weight, position = (parse_finite(part) for part in item)
        if weight is None or position is None or position < 0:
            return None
        points.append((position, weight))
    return tuple(sorted(points, key=lambda point: point[0]))


def lora_weight_at(curve: LoraCurve, step: int, steps: int) -> float:
    """Return the weight at step `step`, from 0, of a run of `steps`.

    A fraction of the run is 0 at the first step and 1 at the last.

    >>> [lora_weight_at(((0.0, 1.0), (0.5, 0.0)), step, 5) for step in range(5)]
    [1.0, 0.5, 0.0, 0.0, 0.0]
    """
    positions = [position for position, _ in curve]
    place = step / max(1, steps - 1) if positions[-1] <= 1 else float(step)
    after = bisect_right(positions, place)
    if after == 0 or after == len(curve):
        return curve[min(after, len(curve) - 1)][1]
    (left, low), (right, high) = curve[after - 1], curve[after]
    return low + (high - low) * (place - left) / (right - left)


def format_tag_weights(weight: float, text_encoder_weight: float | None, curve: LoraCurve = ()) -> str:
    """Return the values of a tag after its name.

    >>> format_tag_weights(1, 0.5), format_tag_weights(0.8, None)
    ('0.5:1', '0.8')
    >>> format_tag_weights(1, None, ((0, 1), (0.5, 0)))
    '1@0,0@0.5'
    """
    written = ",".join(f"{format_weight(each)}@{format_weight(position)}" for position, each in curve)
    denoiser = written or format_weight(weight)
    return denoiser if text_encoder_weight is None else f"{format_weight(text_encoder_weight)}:{denoiser}"
