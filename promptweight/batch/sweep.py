"""Sweeps: every row with every requested seed, weight and weighting, labeled by what varies.

parse_weights("gato=0.5,1,1.5")                      # one axis: ('gato', (0.5, 1.0, 1.5))
parse_weightings("a1111,attention layers=up_blocks") # another axis
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from promptweight.batch.parsed_prompts import ParsedPrompts
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt import find_phrase, reweight
from promptweight.weighting import Weighting

BRACKET_DIALECTS = ("pw", "a1111", "comfy", "novelai")
"""Dialects that write weights in brackets or numbers, the only ones in which a sweep can vary weights."""
_MAX_WEIGHT = 1000


@dataclass(frozen=True)
class Sweep:
    """Axes of a sweep; an empty axis varies nothing.

    Attributes:
        seeds: replace the seeds of the rows.
        weights: for each phrase its weights.
        weightings: how weights act.
    """

    seeds: tuple[int, ...] = ()
    weights: tuple[tuple[str, tuple[float, ...]], ...] = ()
    weightings: tuple[Weighting, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.seeds or self.weights or self.weightings)


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One combination of a sweep.

    Attributes:
        prompt: the prompt with its weights.
        settings: settings that replace those of the row.
        labels: a label for each axis.
    """

    prompt: str
    settings: Mapping[str, Any]
    labels: tuple[str, ...]


def parse_weights(text: str) -> tuple[str, tuple[float, ...]]:
    """Return the phrase and the weights of an axis such as `gato=0.5,1,1.5`.

    Raises:
        SettingError: the text is not of that form, or a weight is out of range.
    """
    phrase, equals, numbers = text.rpartition("=")
    try:
        weights = tuple(float(number) for number in numbers.split(","))
    except ValueError:
        weights = ()
    if not (equals and phrase.strip() and weights and all(math.isfinite(weight) for weight in weights)):
        raise SettingError(message("sweep-weights", text=text))
    if any(abs(weight) > _MAX_WEIGHT for weight in weights):
        raise SettingError(message("sweep-weights-range", lowest=_MAX_WEIGHT, highest=_MAX_WEIGHT, text=text))
    return phrase.strip(), tuple(dict.fromkeys(weights))


def parse_weightings(text: str) -> tuple[Weighting, ...]:
    """Return the weightings of an axis such as `a1111,attention layers=up_blocks`.

    Raises:
        SettingError: a text is not a weighting.
    """
    return tuple(dict.fromkeys(Weighting.parse(each) for each in text.split(",")))


def sweep_points(prompt: str, dialect: str, sweep: Sweep, prompts: ParsedPrompts) -> Iterator[SweepPoint]:
    """Yield every combination of weights and weightings for a prompt; the plan adds the seeds.

    A phrase that the prompt does not contain is not one of its axes.

    Args:
        prompt: the prompt.
        dialect: its dialect.
        sweep: the sweep.
        prompts: takes the parsed prompts.

    Raises:
        SettingError: the sweep has weights, and the dialect does not write them in brackets.
    """
    weightings: Sequence[Weighting | None] = sweep.weightings or (None,)
    axes: list[tuple[str, tuple[float, ...]]] = []
    if sweep.weights:
        if dialect not in BRACKET_DIALECTS:
            raise SettingError(
                message("sweep-dialect", dialects=", ".join(BRACKET_DIALECTS), dialect=dialect)
            )
        parsed = prompts.get(prompt, dialect)
        axes = [(phrase, weights) for phrase, weights in sweep.weights if find_phrase(parsed, phrase)]
    for weights in product(*(weights for _, weights in axes)):
        varied = prompt
        for (phrase, _), weight in zip(axes, weights, strict=True):
            changed = reweight(prompts.get(varied, dialect), phrase, weight)
            prompts.add(changed)
            varied = changed.source
        labels = [f"{phrase} ×{weight:g}" for (phrase, _), weight in zip(axes, weights, strict=True)]
        for weighting in weightings:
            settings = {} if weighting is None else {"weighting": weighting}
            yield SweepPoint(varied, settings, (*labels, *([] if weighting is None else [str(weighting)])))
