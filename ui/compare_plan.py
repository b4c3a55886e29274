"""Which pictures a comparison makes: one for each pair of values of its two axes, all else being equal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptweight.errors import SettingError, WordNotFoundError

KINDS = ("weight", "method", "seed", "steps", "guidance")
"""What an axis can vary."""

SUGGESTED: Mapping[str, str] = {
    "weight": "0, 0.5, 1, 1.5, 2",
    "method": "a1111, comfy, attention-logit",
    "seed": "1, 2, 3",
    "steps": "5, 10, 25",
    "guidance": "1, 4, 8",
}
"""Values to begin with, for each kind."""

MOST_VALUES = 12
"""On one axis."""

MOST_CELLS = 48
LARGEST_WEIGHT = 100.0


@dataclass(frozen=True)
class Axis:
    """What varies along one side of the grid: a kind of `KINDS` and its values; "none" has the value None."""

    kind: str
    values: tuple[Any, ...]


NO_AXIS = Axis("none", (None,))


def read_axis(kind: str, text: str, methods: Sequence[str], most_steps: int) -> Axis:
    """Returns an axis whose values are written with commas, or semicolons, between them.

    Args:
        kind: one of `KINDS`, or "none".
        text: the values, as in `0.5, 1, 2` or `0,5; 1; 2`.
        methods: the names that there are.
        most_steps: how many steps a run may have.

    Raises:
        SettingError: a value cannot be used, or there are too many, or none.

    >>> read_axis("weight", "0.5, 1,2", (), 150).values
    (0.5, 1.0, 2.0)
    """
    if kind == "none":
        return NO_AXIS
    readers: dict[str, Callable[[str], Any]] = {
        "weight": lambda value: _number(kind, value, -LARGEST_WEIGHT, LARGEST_WEIGHT),
        "guidance": lambda value: _number(kind, value, 0, 100),
        "seed": lambda value: _whole(kind, value, 0, 2**53 - 1),
        "steps": lambda value: _whole(kind, value, 1, most_steps),
        "method": lambda value: _method(value, methods),
    }
    if kind not in readers:
        raise SettingError(f"axis is {kind!r}; valid: none, {', '.join(KINDS)}")
    # With semicolons between the values, commas are the decimal commas of many languages.
    parts = text.replace(",", ".").split(";") if ";" in text else text.split(",")
    written = [value.strip() for value in parts]
    values = tuple(dict.fromkeys(readers[kind](value) for value in written if value))
    if not 1 <= len(values) <= MOST_VALUES:
        raise SettingError(f"the {kind} axis has {len(values)} values; it must have 1 to {MOST_VALUES}")
    return Axis(kind, values)


def cells(
    arguments: Mapping[str, Any], word: str, across: Axis, down: Axis
) -> list[tuple[int, int, dict[str, Any]]]:
    """Returns row, column and the arguments of `promptweight.generate` of every picture, row by row.

    Args:
        arguments: what all have in common.
        word: the word or phrase whose weight varies and whose map is shown.
        across: the axis of the columns.
        down: the axis of the rows.

    Raises:
        SettingError: both axes are of one kind, there are too many pictures, or a weight cannot be varied.
        WordNotFoundError: the prompt does not hold the word.
    """
    from promptweight.batch.sweep import places
    from promptweight.prompt import parse

    if across.kind == down.kind != "none":
        raise SettingError(f"both axes vary {across.kind}; choose another for one of them")
    number = len(across.values) * len(down.values)
    if number > MOST_CELLS:
        raise SettingError(f"the grid has {number} pictures; it may have {MOST_CELLS}")
    if not places(parse(arguments["prompt"]), word):
        raise WordNotFoundError(f"{word!r} is not in the prompt")
    found = []
    for row, lower in enumerate(down.values):
        for column, upper in enumerate(across.values):
            changed = _changed(_changed(dict(arguments), word, down.kind, lower), word, across.kind, upper)
            found.append((row, column, changed))
    return found


def words_of(prompt: str) -> list[str]:
    """Returns the words of a prompt, each once, those with a weight first."""
    from promptweight.conditioning.words import fold, split_words
    from promptweight.prompt import parse

    read = parse(prompt)
    found: dict[str, tuple[bool, str]] = {}
    for start, end, is_punctuation in split_words(read.text, read.breaks):
        text = read.text[start:end]
        if not is_punctuation:
            spans = [span for span in read.spans if span.clean_start <= start < span.clean_end]
            found.setdefault(fold(text), (all(span.weight == 1 for span in spans), text))
    return [text for _, text in sorted(found.values(), key=lambda pair: pair[0])]


def _changed(arguments: dict[str, Any], word: str, kind: str, value: Any) -> dict[str, Any]:
    from promptweight.batch.sweep import with_weight

    if kind == "weight":
        return arguments | {"prompt": with_weight(arguments["prompt"], word, value, "pw")}
    if kind == "method" and value.startswith("attention-"):
        mode = value.removeprefix("attention-")
        return arguments | {"space": "attention", "mode": mode, "method": None, "normalizer": None}
    if kind == "method":
        return arguments | {"space": "embedding", "mode": "logit", "method": value}
    names = {"seed": "seed", "steps": "num_inference_steps", "guidance": "guidance_scale"}
    return arguments if kind == "none" else arguments | {names[kind]: value}


def _number(kind: str, written: str, low: float, high: float) -> float:
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise SettingError(f"{kind} {written[:40]!r} is no number from {low:g} to {high:g}")
    return value


def _whole(kind: str, written: str, low: int, high: int) -> int:
    if not (written.isascii() and written.isdigit() and len(written) < 20 and low <= int(written) <= high):
        raise SettingError(f"{kind} {written[:40]!r} is no whole number from {low} to {high}")
    return int(written)


def _method(written: str, methods: Sequence[str]) -> str:
    if written not in methods:
        raise SettingError(f"there is no method {written[:40]!r}; valid: {', '.join(methods)}")
    return written
