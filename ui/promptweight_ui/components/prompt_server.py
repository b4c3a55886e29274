"""What the page asks about a prompt while it is typed; no model runs for it.

Both functions are called by the page's JavaScript with one object, and answer with one. Places in the text
are in UTF-16 units, as browsers count: an emoji is two of them and one character to Python.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import Any

from promptweight.errors import PromptweightError
from promptweight.prompt import Prompt, nudge, parse
from promptweight_ui.i18n import chosen, say
from promptweight_ui.models import Models, has_engine
from promptweight_ui.validation import MOST_CHARACTERS

SHARE_STEP = 5
"""Hundredths by which Ctrl+Up changes a target share, `(gato:=25%)`."""

WRITTEN_SHARE = re.compile(r"(?::\s*+=|share\s*+=)\s*+([\d.]++)\s*+%")

MOST_REMARKS = 12
"""How many remarks are told at once."""


class Units:
    """Places in a text, between Python's characters and UTF-16 units."""

    def __init__(self, text: str) -> None:
        is_plain = not text or max(text) <= "\uffff"
        self._starts = (
            None if is_plain else [0, *accumulate(2 if letter > "\uffff" else 1 for letter in text)]
        )
        self._length = len(text)

    def of(self, place: int) -> int:
        """The place in units of a place in characters."""
        place = min(max(place, 0), self._length)
        return place if self._starts is None else self._starts[place]

    def characters(self, unit: int) -> int:
        """The place in characters of a place in units."""
        unit = max(unit, 0)
        return min(unit, self._length) if self._starts is None else bisect_left(self._starts[:-1], unit)


def read(models: Models, asked: Any) -> dict[str, Any]:
    """Return how a prompt is understood: `{text, language, model}` to spans, words, remarks, tokens."""
    text, language = _asked(asked)
    if text is None:
        return {"error": say(language, "error_prompt", most=MOST_CHARACTERS)}
    prompt = parse(text)
    units = Units(text)
    return {
        "spans": [
            {
                "start": units.of(span.start),
                "end": units.of(span.end),
                "weight": span.weight,
                "share": span.options.share,
            }
            for span in prompt.spans
            if (span.weight != 1 or span.options.share is not None) and span.end > span.start
        ],
        "words": _words(prompt, units),
        "remarks": [
            {
                "start": units.of(remark.start),
                "end": units.of(remark.end),
                "severity": remark.severity,
                "message": remark.message_pt if language == "pt-br" else remark.message,
            }
            for remark in prompt.diagnostics[:MOST_REMARKS]
        ],
        "tokens": _tokens(models, asked.get("model"), prompt),
    }


def nudged(asked: Any) -> dict[str, Any]:
    """Return what Ctrl+Up makes of `{text, start, end, step}`: `{text, start, end}`."""
    text, language = _asked(asked)
    if text is None:
        return {"error": say(language, "error_prompt", most=MOST_CHARACTERS)}
    start, end, step = (asked.get(name) for name in ("start", "end", "step"))
    units = Units(text)
    try:
        if type(start) is not int or type(end) is not int or type(step) not in (int, float):
            raise TypeError
        place = units.characters(start), units.characters(end)
        written, first, last = _share_nudged(text, *place, step) or nudge(text, *place, float(step))
    except (TypeError, ValueError, OverflowError, PromptweightError):
        return {"error": say(language, "error_nudge")}
    after = Units(written)
    return {"text": written, "start": after.of(first), "end": after.of(last)}


def _share_nudged(text: str, first: int, last: int, step: float) -> tuple[str, int, int] | None:
    """Return a prompt with another target share, in steps of `SHARE_STEP`; None where none is selected."""
    span = next(
        (span for span in parse(text).spans if span.options.share and span.start <= first <= span.end), None
    )
    written = WRITTEN_SHARE.search(text, span.end) if span else None
    if span is None or written is None or not math.isfinite(step) or step == 0:
        return None
    whole = round(100 * (span.options.share or 0) / SHARE_STEP) + (1 if step > 0 else -1)
    share = SHARE_STEP * min(max(whole, 1), 100 // SHARE_STEP - 1)
    return f"{text[: written.start(1)]}{share}{text[written.end(1) :]}", first, last


def _asked(asked: Any) -> tuple[str | None, str]:
    """Return the text that is asked about, None where it cannot be a prompt, and the language."""
    if not isinstance(asked, dict):
        return None, chosen(None)
    text, language = asked.get("text"), chosen(asked.get("language"))
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
        return None, language
    is_whole = not any("\ud800" <= letter <= "\udfff" for letter in text)
    return (text if is_whole else None), language


def _words(prompt: Prompt, units: Units) -> list[dict[str, Any]]:
    """Return the words of a prompt, each with its place in the source and its weight.

    There are none until torch has been imported: nobody should wait for it to see a typed weight.
    """
    if not has_engine():
        return []
    from promptweight.prompt import fold, split_words

    seen: Counter[str] = Counter()
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
                    "occurrence": seen[fold(text)],
                    "start": units.of(prompt.to_source(start)),
                    "end": units.of(prompt.to_source(end - 1) + 1),
                    "weight": 1.0 if span is None else span.weight,
                    "share": None if span is None else span.options.share,
                }
            )
        seen[fold(text)] += 1
    return words


def _tokens(models: Models, model: object, prompt: Prompt) -> list[dict[str, Any]] | None:
    """Return how many tokens each text encoder gets; None while the model is still being loaded."""
    try:
        tables = models.count(model, prompt)
    except PromptweightError:
        return None
    if tables is None:
        return None
    return [
        {
            "encoder": table.encoder,
            "count": sum(token.kind == "text" for token in table.tokens),
            "room": table.frame.capacity * table.chunks,
            "chunks": table.chunks,
            "cut": table.cut,
        }
        for table in tables
    ]
