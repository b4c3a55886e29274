"""The words of a prompt that has several texts: those it says one after the other, or joins with AND.

A word is one word wherever it comes from the same place of the source: in "um [gato:peixe:0.5] vermelho",
"um" and "vermelho" are words of both texts, "gato" and "peixe" of one each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from promptweight.conditioning import describe_missing_occurrence, describe_missing_word
from promptweight.errors import WordNotFoundError
from promptweight.prompt import fold

if TYPE_CHECKING:
    from promptweight.conditioning import TokenTable, Word
    from promptweight.prompt import Prompt

Place = tuple[int, int, str]
"""Where a word lies in the source, and how it reads."""


@dataclass(frozen=True)
class Found:
    """A phrase in some of a prompt's texts."""

    words: tuple[Word, ...]
    """Its words, in the first text that holds it."""
    rows: Mapping[int, set[int]]
    """The rows of the text embeddings that stand for it, by the number of the text."""


def words_of(variants: Sequence[PromptVariant]) -> tuple[Word, ...]:
    """The words of every text once, in the order of the source; `positions` are those of the first text."""
    if len(variants) == 1:
        return variants[0][0].table.words
    first: dict[Place, Word] = {}
    for variant in variants:
        table = variant[0].table
        for word in table.words:
            first.setdefault(place_of(word, table.prompt), word)
    seen: Counter[str] = Counter()
    words = []
    for index, place in enumerate(sorted(first)):
        name = fold(first[place].text)
        words.append(replace(first[place], index=index, occurrence=seen[name]))
        seen[name] += 1
    return tuple(words)


def find(variants: Sequence[PromptVariant], phrase: str, occurrence: int = 0) -> Found:
    """Find consecutive words that read as `phrase` in any of the texts of a prompt.

    `occurrence` 0 is its first place in the source, 1 the next.

    Raises:
        WordNotFoundError: no text holds the phrase; lists the words there are.
    """
    if len(variants) == 1:
        rows, words = find_rows(variants[0], phrase, occurrence)
        return Found(words, {0: rows})
    places: dict[tuple[Place, ...], Found] = {}
    for number, variant in enumerate(variants):
        for rows, words in occurrences(variant, phrase):
            place = tuple(place_of(word, variant[0].table.prompt) for word in words)
            known = places.get(place, Found(words, {}))
            places[place] = Found(known.words, {**known.rows, number: rows})
    if 0 <= occurrence < len(places):
        return places[sorted(places)[occurrence]]
    if places:
        raise WordNotFoundError(describe_missing_occurrence(phrase, occurrence, len(places)))
    raise WordNotFoundError(describe_missing_word(phrase, words_of(variants)))


def occurrences(variant: PromptVariant, phrase: str) -> Iterator[tuple[set[int], tuple[Word, ...]]]:
    """The rows and words of a phrase, for every place that it has in one text."""
    for number in count():
        try:
            yield find_rows(variant, phrase, number)
        except WordNotFoundError:
            return


def place_of(word: Word, prompt: Prompt) -> Place:
    """Where a word of a text lies in the source."""
    return prompt.to_source(word.start), prompt.to_source(word.end - 1), word.text


@dataclass(frozen=True)
class PlacedTable:
    """A prompt's token table, and where its rows lie among those of the text embeddings."""

    start: int
    """The row of the table's first token."""
    encoders: tuple[str, ...]
    """The text encoders that wrote these rows."""
    table: TokenTable

    def rows(self, *kinds: str) -> tuple[int, ...]:
        """The rows of the tokens of some kinds."""
        return tuple(self.start + token.position for token in self.table.tokens if token.kind in kinds)


PromptVariant = tuple[PlacedTable, ...]
"""One text of a prompt: its token table for each text encoder that wrote rows of its own."""


def recorded_rows(tables: Sequence[PlacedTable]) -> tuple[int, ...]:
    """The rows whose columns are recorded: beginnings and text. What is left of 1 is ends and padding."""
    return tuple(row for placed in tables for row in placed.rows("bos", "text"))


def find_rows(
    tables: Sequence[PlacedTable], phrase: str, occurrence: int = 0
) -> tuple[set[int], tuple[Word, ...]]:
    """The rows of the embeddings that stand for a phrase in any of the tables, and its words in the first.

    Raises:
        WordNotFoundError: no table holds the phrase.
    """
    rows: set[int] = set()
    found: list[tuple[Word, ...]] = []
    missing: list[WordNotFoundError] = []
    for placed in tables:
        try:
            words = placed.table.find(phrase, occurrence)
        except WordNotFoundError as error:
            missing.append(error)
            continue
        found.append(words)
        rows |= {placed.start + position for word in words for position in word.positions}
    if not found:
        raise missing[0]
    return rows, found[0]
