"""Which pictures a comparison makes: one for each pair of values of its two axes, all else being equal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from promptweight_ui.generation import Call

SUGGESTED: Mapping[str, str] = {
    "weight": "0, 0.5, 1, 1.5, 2",
    "seed": "1, 2, 3",
    "steps": "5, 10, 25",
    "guidance": "1, 4, 8",
}
"""The kinds whose values are numbers, and values to begin with."""

NAMED = ("method", "sampler", "model")
"""The kinds whose values are names, chosen from a list."""

KINDS = {
    "weight": message("weight"),
    "method": message("method"),
    "seed": message("seed"),
    "steps": message("steps"),
    "guidance": message("guidance"),
    "sampler": message("sampler"),
    "model": message("model"),
}
"""What an axis can vary, and what errors call it."""

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


def read_axis(
    kind: str, values: str | Sequence[str], offered: Mapping[str, Sequence[str]], most_steps: int
) -> Axis:
    """Return an axis with its values, each once.

    Args:
        kind: one of `KINDS`, or "none".
        values: names for a kind of `NAMED`; else numbers with commas, or semicolons, between them, as in
            `0.5, 1, 2` or `0,5; 1; 2`.
        offered: the names that there are, for each kind of `NAMED`.
        most_steps: how many steps a run may have.

    Raises:
        SettingError: a value cannot be used, or there are too many, or none.

    >>> read_axis("weight", "0.5, 1,2", {}, 150).values
    (0.5, 1.0, 2.0)
    """
    if kind == "none":
        return NO_AXIS
    readers: dict[str, Callable[[str], Any]] = {
        "weight": lambda value: _number(kind, value, -LARGEST_WEIGHT, LARGEST_WEIGHT),
        "guidance": lambda value: _number(kind, value, 0, 100),
        "seed": lambda value: _whole(kind, value, 0, 2**53 - 1),
        "steps": lambda value: _whole(kind, value, 1, most_steps),
    }
    readers |= {each: lambda value: _named(kind, value, offered[kind]) for each in NAMED}
    if kind not in readers:
        raise SettingError(message("grid-axis", kind=kind, valid=", ".join(KINDS)))
    if isinstance(values, str):
        # With semicolons between the values, commas are the decimal commas of many languages.
        values = values.replace(",", ".").split(";") if ";" in values else values.split(",")
        values = [value.strip() for value in values if value.strip()]
    found = tuple(dict.fromkeys(readers[kind](value) for value in values))
    if not 1 <= len(found) <= MOST_VALUES:
        raise SettingError(
            message(
                "grid-axis-length",
                kind=KINDS[kind],
                number=len(found),
                most=MOST_VALUES,
            )
        )
    return Axis(kind, found)


def cells(
    call: Call, word: str, across: Axis, down: Axis, samplers: Callable[[str], Sequence[str]]
) -> list[tuple[int, int, Call]]:
    """Return row, column and what to make of every picture: row by row, and one model after the other.

    Args:
        call: what all have in common.
        word: the word or phrase whose weight varies and whose map is shown.
        across: the axis of the columns.
        down: the axis of the rows.
        samplers: tells which samplers a model can be run with.

    Raises:
        SettingError: both axes are of one kind, there are too many pictures, a weight cannot be varied, or
            a model has no such sampler.
        WordNotFoundError: the prompt does not hold the word.
    """
    from promptweight.prompt import parse, places

    if across.kind == down.kind != "none":
        raise SettingError(
            message("grid-axes-equal", kind=KINDS[across.kind])
        )
    number = len(across.values) * len(down.values)
    if number > MOST_CELLS:
        raise SettingError(
            message("grid-too-large", number=number, most=MOST_CELLS)
        )
    if not places(parse(call.arguments["prompt"]), word):
        raise WordNotFoundError(no_such_word(word))
    found = []
    for row, lower in enumerate(down.values):
        for column, upper in enumerate(across.values):
            changed = _changed(_changed(call, word, down.kind, lower), word, across.kind, upper)
            if changed.sampler not in samplers(changed.model):
                raise SettingError(
                    message(
                        "grid-sampler",
                        model=changed.model,
                        sampler=changed.sampler,
                        valid=", ".join(samplers(changed.model)),
                    )
                )
            found.append((row, column, changed))
    order = list(dict.fromkeys(each.model for _, _, each in found))
    return sorted(found, key=lambda cell: order.index(cell[2].model))


def no_such_word(word: str) -> Message:
    """State that a word or phrase is not in the prompt."""
    return message("grid-word-missing", word=word)


def words_of(prompt: str) -> list[str]:
    """Return the words of a prompt, each once, those with a weight first."""
    from promptweight.prompt import fold, parse, split_words

    read = parse(prompt)
    found: dict[str, tuple[bool, str]] = {}
    for start, end, is_punctuation in split_words(read.text, read.breaks):
        text = read.text[start:end]
        if not is_punctuation:
            spans = [span for span in read.spans if span.clean_start <= start < span.clean_end]
            found.setdefault(fold(text), (all(span.weight == 1 for span in spans), text))
    return [text for _, text in sorted(found.values(), key=lambda pair: pair[0])]


def still_there(prompt: object, present: Sequence[object]) -> Iterator[tuple[list[str], str | None]]:
    """Yield for every chosen word or phrase what can be chosen, and itself where the prompt still holds it.

    Args:
        prompt: from the browser; what is no readable prompt holds nothing.
        present: what is chosen, from the browser.
    """
    from promptweight.prompt import parse, places
    from promptweight_ui.validation import MOST_CHARACTERS

    text = prompt if isinstance(prompt, str) and len(prompt) <= MOST_CHARACTERS else ""
    known, read = words_of(text), parse(text)
    for word in present:
        is_phrase = isinstance(word, str) and bool(word.strip()) and len(word) <= MOST_CHARACTERS
        yield known, str(word) if is_phrase and places(read, str(word)) else None


def _changed(call: Call, word: str, kind: str, value: Any) -> Call:
    """Return a call with one value of one axis in it."""
    from promptweight.prompt import with_weight

    if kind == "model":
        return replace(call, model=value)
    if kind == "sampler":
        return replace(call, sampler=value)
    changes: dict[str, Any] = {}
    if kind == "weight":
        changes = {"prompt": with_weight(call.arguments["prompt"], word, value, "pw")}
    elif kind == "method" and value.startswith("attention-"):
        mode = value.removeprefix("attention-")
        changes = {"space": "attention", "mode": mode, "method": None, "normalizer": None}
    elif kind == "method":
        changes = {"space": "embedding", "mode": "logit", "method": value}
    elif kind != "none":
        names = {"seed": "seed", "steps": "num_inference_steps", "guidance": "guidance_scale"}
        changes = {names[kind]: value}
    return replace(call, arguments=call.arguments | changes)


def _number(kind: str, written: str, low: float, high: float) -> float:
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise SettingError(
            message(
                "grid-number",
                kind=KINDS[kind],
                written=written[:40],
                low=low,
                high=high,
            )
        )
    return value


def _whole(kind: str, written: str, low: int, high: int) -> int:
    if not (written.isascii() and written.isdigit() and len(written) < 20 and low <= int(written) <= high):
        raise SettingError(
            message(
                "grid-integer",
                kind=KINDS[kind],
                written=written[:40],
                low=low,
                high=high,
            )
        )
    return int(written)


def _named(kind: str, chosen: object, offered: Sequence[str]) -> str:
    if not isinstance(chosen, str) or chosen not in offered:
        raise SettingError(
            message(
                "grid-choice",
                kind=KINDS[kind],
                chosen=str(chosen)[:40],
                valid=", ".join(offered),
            )
        )
    return chosen
