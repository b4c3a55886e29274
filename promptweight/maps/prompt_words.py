"""Words and phrases of a prompt with several texts: those of prompt editing, or the parts that AND joins.

Words at one position of the source are one word: in "um [gato:peixe:0.5] vermelho", "um" and "vermelho" are
words of both texts, "gato" and "peixe" of one each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

from promptweight.conditioning import describe_missing_occurrence, describe_missing_word
from promptweight.errors import WordNotFoundError
from promptweight.prompt import fold

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight.conditioning import TokenTable, Word
    from promptweight.prompt import Prompt

SourceSpan = tuple[int, int, str]
"""Position of a word's first and last character in the source, and its text."""


@dataclass(frozen=True)
class PlacedTable:
    """A prompt's token table and the position of its rows in the text embeddings."""

    start: int
    """Row of the table's first token."""
    encoders: tuple[str, ...]
    """The text encoders that computed these rows."""
    table: TokenTable
    trace: Tensor | None = field(default=None, repr=False, compare=False)
    """The part of every token in every row, (rows, rows) float32, from the rollout of the text encoders'
    attention; None where it was not recorded."""

    def rows(self, *kinds: str) -> tuple[int, ...]:
        """Return the rows of the tokens of these kinds."""
        return tuple(self.start + token.position for token in self.table.tokens if token.kind in kinds)


PromptVariant = tuple[PlacedTable, ...]
"""One text of a prompt: its token table for each text encoder with rows of its own."""


@dataclass(frozen=True)
class PhraseMatch:
    """A phrase in one or more texts of a prompt."""

    words: tuple[Word, ...]
    """Its words, in the first text that contains it."""
    rows: Mapping[int, set[int]]
    """Its rows of the text embeddings, by the index of the text."""


def list_words(variants: Sequence[PromptVariant]) -> tuple[Word, ...]:
    """Return the words of all texts once, in source order; `positions` are those of the first text."""
    if len(variants) == 1:
        return variants[0][0].table.words
    first: dict[SourceSpan, Word] = {}
    for variant in variants:
        table = variant[0].table
        for word in table.words:
            first.setdefault(_source_span(word, table.prompt), word)
    counts: Counter[str] = Counter()
    words = []
    for index, span in enumerate(sorted(first)):
        name = fold(first[span].text)
        words.append(replace(first[span], index=index, occurrence=counts[name]))
        counts[name] += 1
    return tuple(words)


def find_phrase(variants: Sequence[PromptVariant], phrase: str, occurrence: int = 0) -> PhraseMatch:
    """Find consecutive words that equal `phrase` in any of the texts of a prompt.

    Args:
        variants: the texts.
        phrase: the words, in any case.
        occurrence: 0 for the first occurrence in the source, 1 for the next, and so on.

    Raises:
        WordNotFoundError: no text contains the phrase; the error lists the words.
    """
    if len(variants) == 1:
        rows, words = find_phrase_rows(variants[0], phrase, occurrence)
        return PhraseMatch(words, {0: rows})
    matches: dict[tuple[SourceSpan, ...], PhraseMatch] = {}
    for index, variant in enumerate(variants):
        for rows, words in find_occurrences(variant, phrase):
            spans = tuple(_source_span(word, variant[0].table.prompt) for word in words)
            match = matches.get(spans, PhraseMatch(words, {}))
            matches[spans] = PhraseMatch(match.words, {**match.rows, index: rows})
    if 0 <= occurrence < len(matches):
        return matches[sorted(matches)[occurrence]]
    if matches:
        raise WordNotFoundError(describe_missing_occurrence(phrase, occurrence, len(matches)))
    raise WordNotFoundError(describe_missing_word(phrase, list_words(variants)))


def find_occurrences(variant: PromptVariant, phrase: str) -> Iterator[tuple[set[int], tuple[Word, ...]]]:
    """Yield the rows and words of every occurrence of a phrase in one text."""
    for occurrence in count():
        try:
            yield find_phrase_rows(variant, phrase, occurrence)
        except WordNotFoundError:
            return


def find_phrase_rows(
    tables: Sequence[PlacedTable], phrase: str, occurrence: int = 0
) -> tuple[set[int], tuple[Word, ...]]:
    """Return the rows of a phrase in all tables, and its words in the first table that contains it.

    Raises:
        WordNotFoundError: no table contains the phrase.
    """
    rows: set[int] = set()
    matches: list[tuple[Word, ...]] = []
    errors: list[WordNotFoundError] = []
    for placed in tables:
        try:
            words = placed.table.find(phrase, occurrence)
        except WordNotFoundError as error:
            errors.append(error)
            continue
        matches.append(words)
        rows |= {placed.start + position for word in words for position in word.positions}
    if not matches:
        raise errors[0]
    return rows, matches[0]


def list_recorded_rows(tables: Sequence[PlacedTable]) -> tuple[int, ...]:
    """Return the rows whose columns are recorded: beginnings and text, and with a trace all rows.

    Ends and padding are the rest of 1; with a trace they are recorded, because they hold words.
    """
    kinds = {True: ("bos", "text"), False: ("bos", "text", "eos", "pad")}
    return tuple(row for placed in tables for row in placed.rows(*kinds[placed.trace is None]))


def _source_span(word: Word, prompt: Prompt) -> SourceSpan:
    return prompt.to_source(word.start), prompt.to_source(word.end - 1), word.text
