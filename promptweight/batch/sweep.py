"""Sweeps: every row with every requested seed, weight and method, labeled by what varies.

parse_weights("gato=0.5,1,1.5")                      # one axis: ('gato', (0.5, 1.0, 1.5))
with_weight("um (gato:1.2)", "gato", 0.5, "pw")      # 'um (gato:0.5)'
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from promptweight.errors import SettingError
from promptweight.prompt import find_phrase, parse, set_weight
from promptweight.validation import did_you_mean
from promptweight.weighting import ATTACH_MODES, METHOD_NAMES

BRACKET_DIALECTS = ("pw", "a1111", "comfy")
"""Dialects that write weights in brackets, the only ones in which a sweep can vary weights."""
_MAX_WEIGHT = 1000


@dataclass(frozen=True)
class Sweep:
    """Axes of a sweep; an empty axis varies nothing.

    Attributes:
        seeds: replace the seeds of the rows.
        weights: for each phrase its weights.
        methods: methods that weight embeddings (`a1111`) or modes in attention (`logit`).
    """

    seeds: tuple[int, ...] = ()
    weights: tuple[tuple[str, tuple[float, ...]], ...] = ()
    methods: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.seeds or self.weights or self.methods)


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
        raise SettingError(f"weights must be a phrase and numbers, such as gato=0.5,1,1.5; got {text!r}")
    if any(abs(weight) > _MAX_WEIGHT for weight in weights):
        raise SettingError(f"weights must be between -{_MAX_WEIGHT} and {_MAX_WEIGHT}; got {text!r}")
    return phrase.strip(), tuple(dict.fromkeys(weights))


def parse_methods(text: str) -> tuple[str, ...]:
    """Return the methods of an axis such as `a1111,logit`.

    Raises:
        SettingError: a name is not a method.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    known = (*METHOD_NAMES, *ATTACH_MODES)
    for name in names:
        if name not in known:
            raise SettingError(
                f"a method must be one of: {', '.join(METHOD_NAMES)} (embeddings), {', '.join(ATTACH_MODES)} "
                f"(attention); got {name!r}{did_you_mean(name, known)}"
            )
    return names


def method_settings(name: str) -> dict[str, Any]:
    """Return the settings of `Job` for a method of a sweep."""
    if name in ATTACH_MODES:
        return {"space": "attention", "mode": name, "method": None}
    return {"space": "embedding", "method": name}


def sweep_points(prompt: str, dialect: str, sweep: Sweep) -> Iterator[SweepPoint]:
    """Yield every combination of weights and methods for a prompt; the plan adds the seeds.

    A phrase that the prompt does not contain is not one of its axes.

    Raises:
        SettingError: the sweep has weights, and the dialect does not write them in brackets.
    """
    if sweep.weights and dialect not in BRACKET_DIALECTS:
        raise SettingError(
            f"the dialect must be one of: {', '.join(BRACKET_DIALECTS)} to vary weights; got {dialect!r}. "
            "Rewrite the prompt with promptweight convert"
        )
    parsed = parse(prompt, dialect).at()
    axes = [(phrase, weights) for phrase, weights in sweep.weights if find_phrase(parsed, phrase)]
    methods: Sequence[str | None] = sweep.methods or (None,)
    for weights, method in product(list(product(*(weights for _, weights in axes))), methods):
        varied = prompt
        for (phrase, _), weight in zip(axes, weights, strict=True):
            varied = set_weight(varied, phrase, weight, dialect)
        labels = [f"{phrase} ×{weight:g}" for (phrase, _), weight in zip(axes, weights, strict=True)]
        settings = {} if method is None else method_settings(method)
        yield SweepPoint(varied, settings, (*labels, *([method] if method else [])))
