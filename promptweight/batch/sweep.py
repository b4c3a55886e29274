"""Sweeps: every row with every seed, weight and method asked for; the labels say which is which.

read_weights("gato=0.5,1,1.5")                       # one axis: ('gato', (0.5, 1.0, 1.5))
with_weight("um (gato:1.2)", "gato", 0.5, "pw")      # 'um (gato:0.5)'
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from promptweight.errors import SettingError
from promptweight.generation import METHODS, MODES
from promptweight.prompt import parse, places, with_weight
from promptweight.validation import did_you_mean

BRACKET_DIALECTS = ("pw", "a1111", "comfy")


@dataclass(frozen=True)
class Sweep:
    """What is varied; empty axes vary nothing.

    Attributes:
        seeds: in place of the seeds of the rows.
        weights: a phrase and its weights, for each phrase.
        methods: ways of weighting, in embeddings (`a1111`) or in attention (`logit`).
    """

    seeds: tuple[int, ...] = ()
    weights: tuple[tuple[str, tuple[float, ...]], ...] = ()
    methods: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.seeds or self.weights or self.methods)


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One combination: the prompt, the settings that replace the row's, and a label for each axis."""

    prompt: str
    settings: Mapping[str, Any]
    labels: tuple[str, ...]


def parse_weights(text: str) -> tuple[str, tuple[float, ...]]:
    """Return the phrase and the weights of an axis written as `gato=0.5,1,1.5`.

    Raises:
        SettingError: it is not written so.
    """
    phrase, equals, numbers = text.rpartition("=")
    try:
        weights = tuple(float(number) for number in numbers.split(","))
    except ValueError:
        weights = ()
    if not (equals and phrase.strip() and weights and all(math.isfinite(weight) for weight in weights)):
        raise SettingError(f"weights is {text!r}; it must be a phrase and numbers, such as gato=0.5,1,1.5")
    if any(abs(weight) > 1000 for weight in weights):
        raise SettingError(f"weights is {text!r}; weights go from -1000 to 1000")
    return phrase.strip(), tuple(dict.fromkeys(weights))


def parse_methods(text: str) -> tuple[str, ...]:
    """Return the methods of an axis written as `a1111,logit`.

    Raises:
        SettingError: one of them is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    known = (*METHODS, *MODES)
    for name in names:
        if name not in known:
            raise SettingError(
                f"methods has {name!r}; valid in embeddings: {', '.join(METHODS)}; in attention: "
                f"{', '.join(MODES)}{did_you_mean(name, known)}"
            )
    return names


def method_settings(name: str) -> dict[str, Any]:
    """Return the settings of `Job` that a method of a sweep stands for."""
    if name in MODES:
        return {"space": "attention", "mode": name, "method": None}
    return {"space": "embedding", "method": name}


def sweep_points(prompt: str, dialect: str, sweep: Sweep) -> Iterator[SweepPoint]:
    """Yield every combination of weights and methods for a prompt; seeds are the plan's own matter.

    A phrase that the prompt does not hold is no axis of it.

    Raises:
        SettingError: weights are to be varied in a dialect that does not write them in brackets.
    """
    if sweep.weights and dialect not in BRACKET_DIALECTS:
        raise SettingError(
            f"weights can be varied in the dialects {', '.join(BRACKET_DIALECTS)}; this prompt is "
            f"{dialect!r} (promptweight convert rewrites it)"
        )
    read = parse(prompt, dialect)
    axes = [(phrase, weights) for phrase, weights in sweep.weights if places(read, phrase)]
    methods: Sequence[str | None] = sweep.methods or (None,)
    for weights, method in product(list(product(*(weights for _, weights in axes))), methods):
        varied = prompt
        for (phrase, _), weight in zip(axes, weights, strict=True):
            varied = with_weight(varied, phrase, weight, dialect)
        labels = [f"{phrase} ×{weight:g}" for (phrase, _), weight in zip(axes, weights, strict=True)]
        settings = {} if method is None else method_settings(method)
        yield SweepPoint(varied, settings, (*labels, *([method] if method else [])))
