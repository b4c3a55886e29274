"""Variants of a prompt that measure one phrase: without weights, with its weight alone, and without it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt import NO_OPTIONS, Prompt, Span, make_timeline


@dataclass(frozen=True)
class PhraseRange:
    """A phrase of a prompt.

    Attributes:
        text: its characters.
        start: its first character in the clean text.
        end: the character after its last one.
        weight: its weight; None where its words have different ones.
    """

    text: str
    start: int
    end: int
    weight: float | None


def single_text(prompt: Prompt, step: int, steps: int) -> Prompt:
    """Return the text of a prompt at a step, from 0, of a run of `steps`.

    Raises:
        SettingError: AND, `.and()` or `.blend()` joins several texts.
    """
    timeline = make_timeline(prompt, steps)
    variants = timeline.at(step)
    found = timeline.variants[variants[0][0]]
    part = found.parts[0] if found.parts else None
    if len(variants) > 1 or len(found.parts) > 1 or (part and (part.blend is not None or part.weight != 1)):
        raise SettingError(message("reach-parts", prompt=prompt.source))
    return replace(found, parts=(), swaps=(), embeddings=(), tree=None, scheduled=False)


def find_weighted(prompt: Prompt) -> tuple[PhraseRange, ...]:
    """Return the phrases with a weight; target shares such as `(gato:=25%)` are not included."""
    found = []
    for span in prompt.spans:
        text = span.text.strip()
        if text and span.is_weighted and span.options.share is None:
            start = span.clean_start + span.text.index(text)
            found.append(PhraseRange(text, start, start + len(text), span.weight))
    return tuple(found)


def split_spans(prompt: Prompt, phrases: Iterable[PhraseRange]) -> Prompt:
    """Return the prompt with a span boundary at both ends of each phrase."""
    cuts = {offset for phrase in phrases for offset in (phrase.start, phrase.end)}
    spans = []
    for span in prompt.spans:
        inside = sorted(cut for cut in cuts if span.clean_start < cut < span.clean_end)
        for start, end in pairwise([span.clean_start, *inside, span.clean_end]):
            text = prompt.text[start:end]
            spans.append(span._replace(text=text, clean_start=start, clean_end=end))
    return replace(prompt, spans=tuple(spans))


def weigh_only(prompt: Prompt, phrase: PhraseRange | None, weight: float | None = None) -> Prompt:
    """Return the prompt with the weight of one phrase alone, or of none.

    Args:
        prompt: a prompt with span boundaries at the ends of the phrase.
        phrase: the phrase; None for no weights at all.
        weight: its new weight; None keeps those of its words. Its options stay.
    """

    def weigh(span: Span) -> Span:
        if phrase is None or not phrase.start <= span.clean_start < phrase.end:
            return span._replace(weight=1.0, options=NO_OPTIONS)
        options = replace(span.options, share=None)
        return span._replace(weight=span.weight if weight is None else weight, options=options)

    return replace(prompt, spans=tuple(map(weigh, prompt.spans)))


@dataclass(frozen=True)
class Deletion:
    """A prompt without one phrase and without weights.

    Attributes:
        prompt: the shorter prompt.
        start: the first deleted character of the clean text: the phrase and the space before or after it.
        end: the character after the last one.
    """

    prompt: Prompt
    start: int
    end: int

    def shift(self, offset: int) -> int | None:
        """Return the offset of a character of the whole text in the shorter one; None where it is deleted."""
        if offset < self.start:
            return offset
        return None if offset < self.end else offset - (self.end - self.start)


def delete_phrase(prompt: Prompt, phrase: PhraseRange) -> Deletion:
    """Delete a phrase from a prompt, so that one space is left between the words around it.

    Of a phrase between commas, as in a list of tags, one comma is deleted, too.
    """
    before = prompt.text[: phrase.start].rstrip()
    start, end = len(before), phrase.end
    if (not before or before.endswith(",")) and prompt.text[end:].lstrip().startswith(","):
        end = prompt.text.index(",", end) + 1
    after = prompt.text[end:]
    if following := len(after) - len(after.lstrip()):
        end += following - (start > 0 and following < len(after))
    removed = end - start
    spans = tuple(
        _shorten(span, prompt.text, start, end)
        for span in prompt.spans
        if not start <= span.clean_start < span.clean_end <= end
    )
    breaks = tuple(max(start, at - removed) if at > start else at for at in prompt.breaks)
    text = prompt.text[:start] + prompt.text[end:]
    return Deletion(replace(prompt, text=text, spans=spans, breaks=breaks, runs=()), start, end)


def _shorten(span: Span, text: str, start: int, end: int) -> Span:
    """Return a span without its weight and without the characters of the text from `start` to `end`."""
    first, last = span.clean_start, span.clean_end
    kept = text[first : max(first, min(start, last))] + text[min(last, max(end, first)) : last]
    begin = first - max(0, min(end, first) - start)
    return Span(kept, 1.0, span.start, span.end, begin, begin + len(kept), NO_OPTIONS, span.origin)
