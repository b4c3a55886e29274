"""Grid of a comparison: one call for each pair of values of two axes, with all other settings equal."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.messages import message
from promptweight.weighting import Weighting
from promptweight_ui.generation import MAX_GUIDANCE, WEIGHTINGS, GenerateCall
from promptweight_ui.i18n import LANGUAGES
from promptweight_ui.samplers import OWN_SAMPLER, join_sampler
from promptweight_ui.validation import MAX_CHARACTERS, missing_phrase_message

if TYPE_CHECKING:
    from promptweight.prompt import Span
    from promptweight_ui.models import Models

NUMERIC_DEFAULTS: Mapping[str, str] = {
    "weight": "0; 0.5; 1; 1.5; 2",
    "seed": "1; 2; 3",
    "steps": "5; 10; 25",
    "guidance": "1; 4; 8",
}
"""Kinds whose values are numbers, with default values."""

WHOLE_KINDS = ("seed", "steps")
"""Kinds whose values are whole numbers."""

NAMED_KINDS = ("weighting", "sampler", "model")
"""Kinds whose values are names from a list."""

NAMED_DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "weighting": ("presence", "a1111", "comfy", "attention"),
    "sampler": ("DDIM", "Euler", "Euler a", "DPM++ 2M Karras", "Heun"),
}
"""Default names; of models, all."""

KINDS = {
    "weight": message("weight"),
    "weighting": message("weighting"),
    "seed": message("seed"),
    "steps": message("steps"),
    "guidance": message("guidance"),
    "sampler": message("sampler"),
    "model": message("model"),
}
"""Kinds of an axis, with their names in errors."""

MAX_VALUES = 12
"""Values of one axis."""

NUMBER = r"[-+]?\d{1,15}(?:\.\d{1,15})?"
RANGE = re.compile(
    rf"(?P<low>{NUMBER})\s*-\s*(?P<high>{NUMBER})\s*(?:\((?P<step>[-+]\d+(?:\.\d+)?)\)|\[(?P<count>\d{{1,3}})\])?"
)

MAX_NAME = 80
"""Characters of the name of a sampler."""

MAX_CELLS = 48
MAX_WEIGHT = 100.0


@dataclass(frozen=True)
class Axis:
    """Setting that varies along one side of the grid: a kind of `KINDS` and its values; "none" has None."""

    kind: str
    values: tuple[Any, ...]


NO_AXIS = Axis("none", (None,))


def offered_names(models: Models, model: str) -> dict[str, tuple[str, ...]]:
    """Return the valid names of each kind of `NAMED_KINDS`; samplers are those of one model.

    Samplers with the noise schedule of Karras are also listed with it.
    """
    samplers = models.samplers(model)
    karras = [f"{name} Karras" for name in samplers if "Karras" in models.schedules(model, name)]
    return {"weighting": WEIGHTINGS, "sampler": (*samplers, *karras), "model": models.names}


def default_names(kind: str, offered: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the default names of a kind of `NAMED_KINDS` among those that are offered."""
    return [name for name in NAMED_DEFAULTS.get(kind, offered[kind]) if name in offered[kind]]


def default_numbers(kind: str, language: object) -> str:
    """Return the default values of a kind of `NUMERIC_DEFAULTS`, with the decimal comma in Portuguese.

    >>> default_numbers("weight", "pt-br")
    '0; 0,5; 1; 1,5; 2'
    """
    numbers = NUMERIC_DEFAULTS[kind]
    return numbers.replace(".", ",") if language == "pt-br" else numbers


def translate_defaults(text: object, language: object) -> str | None:
    """Return the default values that `text` holds as a language writes them; None for other values."""
    for kind in NUMERIC_DEFAULTS:
        if text in [default_numbers(kind, each) for each in LANGUAGES]:
            return default_numbers(kind, language)
    return None


def parse_axis(
    kind: str, values: str | Sequence[str], offered: Mapping[str, Sequence[str]], max_steps: int
) -> Axis:
    """Return an axis with its values, each once.

    Args:
        kind: one of `KINDS`, or "none".
        values: names for a kind of `NAMED_KINDS`, those of weightings also with fields, as in
            `comfy normalizer=length`; else numbers and ranges as `split_numbers` takes them.
        offered: the valid names of a kind; a sampler is checked with its model by `plan_cells`.
        max_steps: the largest number of steps of a run.

    Raises:
        SettingError: a value is invalid, or there are too many or no values.

    >>> parse_axis("weight", "0.5, 1,2", {}, 150).values
    (0.5, 1.0, 2.0)
    >>> parse_axis("weight", "0-1 (+0,5); 3", {}, 150).values
    (0.0, 0.5, 1.0, 3.0)
    """
    if kind == "none":
        return NO_AXIS
    parsers: dict[str, Callable[[str], Any]] = {
        "weight": lambda value: _number(kind, value, -MAX_WEIGHT, MAX_WEIGHT),
        "weighting": lambda value: str(Weighting.parse(str(value))),
        "seed": lambda value: _integer(kind, value, 0, 2**53 - 1),
        "steps": lambda value: _integer(kind, value, 1, max_steps),
        "guidance": lambda value: _number(kind, value, 0, MAX_GUIDANCE),
        "sampler": lambda value: str(value)[:MAX_NAME],
        "model": lambda value: _choice(kind, value, offered["model"]),
    }
    if kind not in parsers:
        raise SettingError(message("grid-axis", kind=kind, valid=", ".join(KINDS)))
    if isinstance(values, str):
        values = [each for part in split_numbers(values) for each in _expand(part, kind in WHOLE_KINDS)]
    parsed = tuple(dict.fromkeys(parsers[kind](value) for value in values))
    if not 1 <= len(parsed) <= MAX_VALUES:
        raise SettingError(message("grid-axis-length", kind=KINDS[kind], number=len(parsed), most=MAX_VALUES))
    return Axis(kind, parsed)


def split_numbers(text: str) -> list[str]:
    """Return the numbers and ranges of a text, with decimal points.

    They are separated by semicolons or commas. With semicolons, with a space after other commas, or with a
    comma in the step of a range, a comma between digits is a decimal comma, as in Portuguese, unless the text
    has decimal points.

    >>> split_numbers("0.5,1,2"), split_numbers("0,5; 1"), split_numbers("0,5, 1, 1,5")
    (['0.5', '1', '2'], ['0.5', '1'], ['0.5', '1', '1.5'])
    """
    if ";" in text:
        parts = text.split(";")
    elif "." not in text and re.search(r",\s", text):
        parts = re.split(r",\s+", text)
    elif re.fullmatch(r"\s*[-+]?0,\d+\s*", text) or re.search(r"\([-+]\d+,\d+\)", text):
        parts = [text]  # one number below 1, or one range
    else:
        parts = text.split(",")
    return [part.strip().replace(",", ".") for part in parts if part.strip()]


def _expand(text: str, is_whole: bool) -> list[str]:
    """Return the numbers of a range such as `0-2 (+0.25)` or `0-2 [5]`, as AUTOMATIC1111 writes them."""
    match = RANGE.fullmatch(text)
    if match is None:
        return [text]
    low, high = float(match["low"]), float(match["high"])
    if match["count"]:
        count = int(match["count"])
        step = (high - low) / (count - 1) if count > 1 else 0.0
    else:
        step = float(match["step"] or 1)
        count = int((high - low) / step + 1e-9) + 1 if step and (high - low) / step >= 0 else 0
    if not 1 <= count <= MAX_VALUES:
        raise SettingError(message("grid-range", written=text[:40], number=max(count, 0), most=MAX_VALUES))
    values = [low + step * index for index in range(count)]
    return [str(round(value)) if is_whole else f"{value:.6g}" for value in values]


def plan_cells(
    call: GenerateCall,
    word: str,
    across: Axis,
    down: Axis,
    models: Models,
) -> list[tuple[int, int, GenerateCall]]:
    """Return row, column and call of every cell, row by row, and one model after the other.

    Args:
        call: the settings that all cells share.
        word: the word or phrase whose weight varies and whose map is shown.
        across: the axis of the columns.
        down: the axis of the rows.
        models: the models that the server offers.

    Raises:
        SettingError: both axes have one kind, there are too many cells, the weight cannot vary, or a model
            does not have the sampler.
        WordNotFoundError: the word is not in the prompt.
    """
    from promptweight.prompt import as_prompt, find_phrase

    if across.kind == down.kind != "none":
        raise SettingError(message("grid-axes-equal", kind=KINDS[across.kind]))
    number = len(across.values) * len(down.values)
    if number > MAX_CELLS:
        raise SettingError(message("grid-too-large", number=number, most=MAX_CELLS))
    if not find_phrase(as_prompt(call.prompt, call.options.dialect), word):
        raise WordNotFoundError(missing_phrase_message(word))
    cells = []
    for row, lower in enumerate(down.values):
        for column, upper in enumerate(across.values):
            changed = _change(_change(call, word, down.kind, lower), word, across.kind, upper)
            cells.append((row, column, _with_sampler(changed, models)))
    names = list(dict.fromkeys(each.model for _, _, each in cells))
    return sorted(cells, key=lambda cell: names.index(cell[2].model))


def prompt_words(text: str, dialect: str = "pw") -> list[str]:
    """Return what can be compared in a prompt, each once: phrases, then words, those with a weight first."""
    from promptweight.prompt import fold, parse, split_phrases, split_words

    prompt = parse(text, dialect).at()
    words = []
    for start, end, is_punctuation in split_words(prompt.text, prompt.breaks):
        spans = [span for span in prompt.spans if span.clean_start <= start < span.clean_end]
        place = (spans[0].weight, spans[0].clean_start) if spans else (1.0, 0)
        words.append(_PromptWord(prompt.text[start:end], is_punctuation, *place))
    found: dict[str, tuple[tuple[bool, bool], str]] = {}
    phrases = [
        list(group) for run in split_phrases(words) for _, group in groupby(run, key=lambda word: word.span)
    ]
    for group in [*phrases, *([word] for word in words if not word.is_punctuation)]:
        phrase = " ".join(word.text for word in group)
        order = (group[0].weight == 1, len(group) == 1)
        found.setdefault(fold(phrase), (order, phrase))
    return [phrase for _, phrase in sorted(found.values(), key=lambda pair: pair[0])]


def span_of(prompt: str, phrase: str) -> Span | None:
    """Return the weighted span in which the first occurrence of a phrase begins; None if there is none."""
    from promptweight.prompt import find_phrase, parse

    parsed = parse(prompt).at()
    starts = [start for start, _ in find_phrase(parsed, phrase)]
    spans = (span for start in starts for span in parsed.spans if span.clean_start <= start < span.clean_end)
    return next(spans, None)


@dataclass(frozen=True)
class _PromptWord:
    text: str
    is_punctuation: bool
    weight: float
    span: int


def remaining_phrases(prompt: object, chosen: Sequence[object]) -> Iterator[tuple[list[str], str | None]]:
    """Yield the words of the prompt for every chosen phrase, and the phrase itself if it is still there.

    Args:
        prompt: the prompt from the browser; an invalid one counts as empty.
        chosen: the chosen words or phrases from the browser.
    """
    from promptweight.prompt import find_phrase, parse

    text = prompt if isinstance(prompt, str) and len(prompt) <= MAX_CHARACTERS else ""
    words, parsed = prompt_words(text), parse(text).at()
    for phrase in chosen:
        is_phrase = isinstance(phrase, str) and bool(phrase.strip()) and len(phrase) <= MAX_CHARACTERS
        yield words, str(phrase) if is_phrase and find_phrase(parsed, str(phrase)) else None


def _with_sampler(call: GenerateCall, models: Models) -> GenerateCall:
    """Return a call with the name of its sampler as the model has it.

    Raises:
        SettingError: the model does not have the sampler.
    """
    name = call.options.scheduler or OWN_SAMPLER
    found = models.split_sampler(call.model, name)
    if found is None:
        valid = ", ".join(models.samplers(call.model))
        raise SettingError(message("grid-sampler", model=call.model, sampler=name, valid=valid))
    return replace(call, options=replace(call.options, scheduler=join_sampler(*found)))


def _change(call: GenerateCall, word: str, kind: str, value: Any) -> GenerateCall:
    """Return a call with one value of one axis."""
    from promptweight.prompt import set_weight

    if kind == "none":
        return call
    if kind == "model":
        return replace(call, model=value)
    if kind == "weight":
        return replace(call, prompt=set_weight(str(call.prompt), word, value, call.options.dialect))
    fields = {
        "weighting": "weighting",
        "sampler": "scheduler",
        "seed": "seed",
        "steps": "num_inference_steps",
        "guidance": "guidance_scale",
    }
    return replace(call, options=replace(call.options, **{fields[kind]: value}))


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
