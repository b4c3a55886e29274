"""Grid of a comparison: one call for each pair of values of two axes, with all other settings equal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.messages import Message, message
from promptweight_ui.generation import MAX_GUIDANCE, WEIGHTING_ARGUMENTS, GenerateCall, weighting_arguments

NUMERIC_DEFAULTS: Mapping[str, str] = {
    "weight": "0, 0.5, 1, 1.5, 2",
    "seed": "1, 2, 3",
    "steps": "5, 10, 25",
    "guidance": "1, 4, 8",
}
"""Kinds whose values are numbers, with default values."""

NAMED_KINDS = ("method", "sampler", "model")
"""Kinds whose values are names from a list."""

KINDS = {
    "weight": message("weight"),
    "method": message("method"),
    "seed": message("seed"),
    "steps": message("steps"),
    "guidance": message("guidance"),
    "sampler": message("sampler"),
    "model": message("model"),
}
"""Kinds of an axis, with their names in errors."""

MAX_VALUES = 12
"""Values of one axis."""

MAX_CELLS = 48
MAX_WEIGHT = 100.0


@dataclass(frozen=True)
class Axis:
    """Setting that varies along one side of the grid: a kind of `KINDS` and its values; "none" has None."""

    kind: str
    values: tuple[Any, ...]


NO_AXIS = Axis("none", (None,))


def parse_axis(
    kind: str, values: str | Sequence[str], offered: Mapping[str, Sequence[str]], max_steps: int
) -> Axis:
    """Return an axis with its values, each once.

    Args:
        kind: one of `KINDS`, or "none".
        values: names for a kind of `NAMED_KINDS`; else numbers separated by commas or semicolons, as in
            `0.5, 1, 2` or `0,5; 1; 2`.
        offered: the valid names for each kind of `NAMED_KINDS`.
        max_steps: the largest number of steps of a run.

    Raises:
        SettingError: a value is invalid, or there are too many or no values.

    >>> parse_axis("weight", "0.5, 1,2", {}, 150).values
    (0.5, 1.0, 2.0)
    """
    if kind == "none":
        return NO_AXIS
    parsers: dict[str, Callable[[str], Any]] = {
        "weight": lambda value: _number(kind, value, -MAX_WEIGHT, MAX_WEIGHT),
        "guidance": lambda value: _number(kind, value, 0, MAX_GUIDANCE),
        "seed": lambda value: _integer(kind, value, 0, 2**53 - 1),
        "steps": lambda value: _integer(kind, value, 1, max_steps),
    }
    parsers |= {each: lambda value: _choice(kind, value, offered[kind]) for each in NAMED_KINDS}
    if kind not in parsers:
        raise SettingError(message("grid-axis", kind=kind, valid=", ".join(KINDS)))
    if isinstance(values, str):
        # With semicolons between the values, commas are decimal commas, as in Portuguese.
        values = values.replace(",", ".").split(";") if ";" in values else values.split(",")
        values = [value.strip() for value in values if value.strip()]
    parsed = tuple(dict.fromkeys(parsers[kind](value) for value in values))
    if not 1 <= len(parsed) <= MAX_VALUES:
        raise SettingError(message("grid-axis-length", kind=KINDS[kind], number=len(parsed), most=MAX_VALUES))
    return Axis(kind, parsed)


def plan_cells(
    call: GenerateCall, word: str, across: Axis, down: Axis, samplers: Callable[[str], Sequence[str]]
) -> list[tuple[int, int, GenerateCall]]:
    """Return row, column and call of every cell, row by row, and one model after the other.

    Args:
        call: the settings that all cells share.
        word: the word or phrase whose weight varies and whose map is shown.
        across: the axis of the columns.
        down: the axis of the rows.
        samplers: returns the samplers of a model.

    Raises:
        SettingError: both axes have one kind, there are too many cells, the weight cannot vary, or a model
            does not have the sampler.
        WordNotFoundError: the word is not in the prompt.
    """
    from promptweight.prompt import find_phrase, parse

    if across.kind == down.kind != "none":
        raise SettingError(message("grid-axes-equal", kind=KINDS[across.kind]))
    number = len(across.values) * len(down.values)
    if number > MAX_CELLS:
        raise SettingError(message("grid-too-large", number=number, most=MAX_CELLS))
    if not find_phrase(parse(call.arguments["prompt"]).at(), word):
        raise WordNotFoundError(missing_phrase_message(word))
    cells = []
    for row, lower in enumerate(down.values):
        for column, upper in enumerate(across.values):
            changed = _change(_change(call, word, down.kind, lower), word, across.kind, upper)
            if changed.sampler not in samplers(changed.model):
                raise SettingError(
                    message(
                        "grid-sampler",
                        model=changed.model,
                        sampler=changed.sampler,
                        valid=", ".join(samplers(changed.model)),
                    )
                )
            cells.append((row, column, changed))
    models = list(dict.fromkeys(each.model for _, _, each in cells))
    return sorted(cells, key=lambda cell: models.index(cell[2].model))


def missing_phrase_message(phrase: str) -> Message:
    """Return the message that a word or phrase is not in the prompt."""
    return message("grid-word-missing", word=phrase)


def prompt_words(text: str) -> list[str]:
    """Return the distinct words of a prompt, those with a weight first."""
    from promptweight.prompt import fold, parse, split_words

    prompt = parse(text).at()
    words: dict[str, tuple[bool, str]] = {}
    for start, end, is_punctuation in split_words(prompt.text, prompt.breaks):
        word = prompt.text[start:end]
        if not is_punctuation:
            spans = [span for span in prompt.spans if span.clean_start <= start < span.clean_end]
            words.setdefault(fold(word), (all(span.weight == 1 for span in spans), word))
    return [word for _, word in sorted(words.values(), key=lambda pair: pair[0])]


def remaining_phrases(prompt: object, chosen: Sequence[object]) -> Iterator[tuple[list[str], str | None]]:
    """Yield the words of the prompt for every chosen phrase, and the phrase itself if it is still there.

    Args:
        prompt: the prompt from the browser; an invalid one counts as empty.
        chosen: the chosen words or phrases from the browser.
    """
    from promptweight.prompt import find_phrase, parse
    from promptweight_ui.validation import MAX_CHARACTERS

    text = prompt if isinstance(prompt, str) and len(prompt) <= MAX_CHARACTERS else ""
    words, parsed = prompt_words(text), parse(text).at()
    for phrase in chosen:
        is_phrase = isinstance(phrase, str) and bool(phrase.strip()) and len(phrase) <= MAX_CHARACTERS
        yield words, str(phrase) if is_phrase and find_phrase(parsed, str(phrase)) else None


def _change(call: GenerateCall, word: str, kind: str, value: Any) -> GenerateCall:
    """Return a call with one value of one axis."""
    from promptweight.prompt import set_weight

    changes: dict[str, Any] = {}
    if kind == "model":
        return replace(call, model=value)
    if kind == "sampler":
        return replace(call, sampler=value)
    if kind == "weight":
        changes = {"prompt": set_weight(call.arguments["prompt"], word, value, "pw")}
    elif kind == "method":
        changes = weighting_arguments(value, call.arguments.get("normalizer"))
        others = {key: each for key, each in call.arguments.items() if key not in WEIGHTING_ARGUMENTS}
        return replace(call, arguments=others | changes)
    elif kind != "none":
        names = {"seed": "seed", "steps": "num_inference_steps", "guidance": "guidance_scale"}
        changes = {names[kind]: value}
    return replace(call, arguments=call.arguments | changes)


def _number(kind: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise SettingError(message("grid-number", kind=KINDS[kind], written=text[:40], low=low, high=high))
    return value


def _integer(kind: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise SettingError(message("grid-integer", kind=KINDS[kind], written=text[:40], low=low, high=high))
    return int(text)


def _choice(kind: str, name: object, offered: Sequence[str]) -> str:
    if not isinstance(name, str) or name not in offered:
        raise SettingError(
            message("grid-choice", kind=KINDS[kind], chosen=str(name)[:40], valid=", ".join(offered))
        )
    return name
