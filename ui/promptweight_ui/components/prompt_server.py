"""Server functions of the prompt box: parsing, token counts and weight changes; no model runs for them.

JavaScript calls each function with one object and gets one back. Positions in the text are in UTF-16 units,
as in browsers: an emoji has two units, and one character in Python.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import Any

from promptweight.errors import PromptweightError
from promptweight.prompt import Prompt, adjust_weight, parse
from promptweight_ui.i18n import known_language, translate
from promptweight_ui.models import Models, has_engine
from promptweight_ui.validation import MAX_CHARACTERS
from promptweight_ui.vocabulary import unknown_words

SHARE_STEP = 5
"""Percentage points by which Ctrl+Up changes a target share, `(gato:=25%)`."""

TARGET_SHARE = re.compile(r"(?::\s*+=|share\s*+=)\s*+([\d.]++)\s*+%")

MAX_DIAGNOSTICS = 12
"""Diagnostics that are shown at once."""


class Utf16Offsets:
    """Conversion of positions in a text between characters and UTF-16 units.

    Args:
        text: the text.
    """

    def __init__(self, text: str) -> None:
        has_one_unit = not text or max(text) <= "\uffff"
        self._starts = (
            None if has_one_unit else [0, *accumulate(2 if letter > "\uffff" else 1 for letter in text)]
        )
        self._length = len(text)

    def from_characters(self, position: int) -> int:
        """Return the position in units of a position in characters."""
        position = min(max(position, 0), self._length)
        return position if self._starts is None else self._starts[position]

    def to_characters(self, unit: int) -> int:
        """Return the position in characters of a position in units."""
        unit = max(unit, 0)
        return min(unit, self._length) if self._starts is None else bisect_left(self._starts[:-1], unit)


def parse_for_page(models: Models, request: Any) -> dict[str, Any]:
    """Return the spans, words, diagnostics, unknown words and token counts of `{text, language, model}`."""
    text, language = _valid_request(request)
    if text is None:
        return {"error": translate(language, "error_prompt", most=MAX_CHARACTERS)}
    prompt = parse(text).at()
    offsets = Utf16Offsets(text)
    unit = offsets.from_characters
    return {
        "spans": [
            {
                "start": unit(span.start),
                "end": unit(span.end),
                "weight": span.weight,
                "share": span.options.share,
            }
            for span in prompt.spans
            if (span.weight != 1 or span.options.share is not None) and span.end > span.start
        ],
        "words": _words(prompt, offsets),
        "diagnostics": [
            {
                "start": unit(diagnostic.start),
                "end": unit(diagnostic.end),
                "severity": diagnostic.severity,
                "message": diagnostic.message_pt if language == "pt-br" else diagnostic.message,
            }
            for diagnostic in prompt.diagnostics[:MAX_DIAGNOSTICS]
        ],
        "unknown": _unknown_words(models, request.get("model"), prompt, offsets, language),
        "tokens": count_tokens(models, request.get("model"), prompt),
    }


def adjust_weight_for_page(request: Any) -> dict[str, Any]:
    """Return the prompt of `{text, start, end, step}` with another weight: `{text, start, end}`."""
    text, language = _valid_request(request)
    if text is None:
        return {"error": translate(language, "error_prompt", most=MAX_CHARACTERS)}
    start, end, step = (request.get(name) for name in ("start", "end", "step"))
    before = Utf16Offsets(text)
    try:
        if type(start) is not int or type(end) is not int or type(step) not in (int, float):
            raise TypeError
        selection = before.to_characters(start), before.to_characters(end)
        changed, first, last = _adjust_share(text, *selection, step) or adjust_weight(
            text, *selection, float(step)
        )
    except (TypeError, ValueError, OverflowError, PromptweightError):
        return {"error": translate(language, "error_weight")}
    after = Utf16Offsets(changed)
    return {"text": changed, "start": after.from_characters(first), "end": after.from_characters(last)}


def _adjust_share(text: str, first: int, last: int, step: float) -> tuple[str, int, int] | None:
    """Return the prompt with another target share, in steps of `SHARE_STEP`; None if none is selected."""
    shares = (span for span in parse(text).at().spans if span.options.share is not None)
    span = next((span for span in shares if span.start <= first <= span.end), None)
    match = TARGET_SHARE.search(text, span.end) if span else None
    if span is None or match is None or not math.isfinite(step) or step == 0:
        return None
    multiple = round(100 * (span.options.share or 0) / SHARE_STEP) + (1 if step > 0 else -1)
    share = SHARE_STEP * min(max(multiple, 1), 100 // SHARE_STEP - 1)
    return f"{text[: match.start(1)]}{share}{text[match.end(1) :]}", first, last


def _valid_request(request: Any) -> tuple[str | None, str]:
    """Return the text of a request, None if it cannot be a prompt, and its language."""
    if not isinstance(request, dict):
        return None, known_language(None)
    text, language = request.get("text"), known_language(request.get("language"))
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        return None, language
    has_surrogate = any("\ud800" <= letter <= "\udfff" for letter in text)
    return (None if has_surrogate else text), language


def _words(prompt: Prompt, offsets: Utf16Offsets) -> list[dict[str, Any]]:
    """Return the words of a prompt, each with its position in the source and its weight.

    The list is empty before torch is imported: highlighting of typed weights does not wait for it.
    """
    if not has_engine():
        return []
    from promptweight.prompt import fold, split_words

    occurrences: Counter[str] = Counter()
    words = []
    spans = iter(prompt.spans)
    span = next(spans, None)
    for start, end, is_punctuation in split_words(prompt.text, prompt.breaks):
        while span is not None and span.clean_end <= start:
            span = next(spans, None)
        text = prompt.text[start:end]
        if not is_punctuation:
            words.append(
                {
                    "text": text,
                    "occurrence": occurrences[fold(text)],
                    "start": offsets.from_characters(prompt.to_source(start)),
                    "end": offsets.from_characters(prompt.to_source(end - 1) + 1),
                    "weight": 1.0 if span is None else span.weight,
                    "share": None if span is None else span.options.share,
                }
            )
        occurrences[fold(text)] += 1
    return words


def _unknown_words(
    models: Models, model: object, prompt: Prompt, offsets: Utf16Offsets, language: str
) -> list[dict[str, Any]]:
    """Return the words that the model does not know, with their positions in the text."""
    if not isinstance(model, str) or model not in models.names:
        return []
    return [
        {**each, "start": offsets.from_characters(each["start"]), "end": offsets.from_characters(each["end"])}
        for each in unknown_words(models.facts(model).world, prompt, language)
    ]


def count_tokens(models: Models, model: object, prompt: Prompt) -> list[dict[str, Any]] | None:
    """Return the number of tokens for each text encoder; None while the model is loading."""
    try:
        tables = models.token_tables(model, prompt)
    except PromptweightError:
        return None
    if tables is None:
        return None
    return [
        {
            "encoder": table.encoder,
            "count": sum(token.kind == "text" for token in table.tokens),
            "room": table.layout.capacity * table.chunks,
            "chunks": table.chunks,
            "cut": table.truncated_text,
        }
        for table in tables
    ]
