"""Words of a text, by Unicode properties alone.

A tokenizer cuts text into pieces of its vocabulary; a user selects *guarda-chuva*, *coração* or 👩‍👩‍👧.
`split_words` finds these, so that the tokens of every text encoder map to the same words:

>>> text = "um guarda-chuva, 🐱!"
>>> [text[word.start : word.end] for word in split_words(text)]
['um', 'guarda-chuva', ',', '🐱', '!']
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

_ZERO_WIDTH_JOINER = "\u200d"
_BETWEEN_LETTERS = frozenset("'’-‐_·")
_BETWEEN_DIGITS = frozenset(".,")
_SEPARATORS = frozenset("\x1c\x1d\x1e\x1f")  # spaces to Python, characters to the tokenizers


class WordSpan(NamedTuple):
    """The range of one word in a text, in characters; the end is exclusive."""

    start: int
    end: int
    is_punctuation: bool


class _Cluster(NamedTuple):
    """A user-perceived character: a base with its accents, or a whole emoji sequence."""

    start: int
    end: int
    kind: str  # "space", "letter", "digit", "ideograph", "symbol" or "punctuation"


def split_words(
    text: str, boundaries: Iterable[int] = (), wholes: Mapping[int, int] | None = None
) -> list[WordSpan]:
    """Find the words of `text`, in order; white space belongs to none.

    Adjacent letters and digits form one word, also across an apostrophe or a hyphen between letters and a
    point or comma between digits. Ideographs, hiragana and emoji form a word each. Adjacent punctuation
    forms one word with `is_punctuation` set.

    Args:
        text: the text.
        boundaries: offsets that no word crosses.
        wholes: ranges, from start to end, that are one word each, whatever their characters.
    """
    wholes = wholes or {}
    edges = sorted({*boundaries, *wholes.keys(), *wholes.values()})
    words: list[WordSpan] = []
    clusters = list(_clusters(text))
    position = 0
    while position < len(clusters):
        first = clusters[position]
        limit_index = bisect_right(edges, first.start)
        limit = edges[limit_index] if limit_index < len(edges) else len(text)
        last = position
        if first.start in wholes:
            while last + 1 < len(clusters) and clusters[last + 1].start < wholes[first.start]:
                last += 1
            words.append(WordSpan(first.start, clusters[last].end, False))
            position = last + 1
            continue
        if first.kind in ("letter", "digit"):
            while (following := _next_in_word(text, clusters, last, limit)) is not None:
                last = following
        elif first.kind == "punctuation":
            while (
                last + 1 < len(clusters)
                and clusters[last + 1].kind == "punctuation"
                and clusters[last + 1].start < limit
            ):
                last += 1
        if first.kind != "space":
            words.append(WordSpan(first.start, clusters[last].end, first.kind == "punctuation"))
        position = last + 1
    return words


def fold(word: str) -> str:
    """Return the form in which words are compared: composed accents, no case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", word).casefold())


def _next_in_word(text: str, clusters: list[_Cluster], last: int, limit: int) -> int | None:
    """Return the cluster that continues a word of letters and digits after cluster `last`, if any."""

    def kind(index: int) -> str:
        return clusters[index].kind if index < len(clusters) and clusters[index].start < limit else ""

    if kind(last + 1) in ("letter", "digit"):
        return last + 1
    if kind(last + 1) == "punctuation":
        between = text[clusters[last + 1].start : clusters[last + 1].end]
        sides = (kind(last), kind(last + 2))
        if between in _BETWEEN_LETTERS and all(side in ("letter", "digit") for side in sides):
            return last + 2
        if between in _BETWEEN_DIGITS and sides == ("digit", "digit"):
            return last + 2
    return None


def _clusters(text: str) -> Iterator[_Cluster]:
    start = 0
    while start < len(text):
        base = text[start]
        end = start + 1
        if _is_regional_indicator(base) and end < len(text) and _is_regional_indicator(text[end]):
            end += 1
        kind = _kind(base)
        while end < len(text):
            joined = kind == "symbol" == _kind(text[end]) and text[end - 1] == _ZERO_WIDTH_JOINER
            if kind == "space" or not (joined or _extends(text[end])):
                break
            end += 1
        yield _Cluster(start, end, kind)
        start = end


def _kind(character: str) -> str:
    if character.isspace() and character not in _SEPARATORS:
        return "space"
    category = unicodedata.category(character)
    if category == "Lo" and _is_ideograph(character):
        return "ideograph"
    if category[0] in "LM":
        return "letter"
    if category[0] == "N":
        return "digit"
    if category in ("So", "Cn"):  # Cn: pictures newer than this Python's Unicode tables
        return "symbol"
    return "punctuation"


def _extends(character: str) -> bool:
    """Return whether a character belongs to the one before: accents, joiners, skin tones, flag tags."""
    return (
        character == _ZERO_WIDTH_JOINER
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0020" <= character <= "\U000e007f"
        or unicodedata.category(character)[0] == "M"
    )


def _is_regional_indicator(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_ideograph(character: str) -> bool:
    """Return whether a character is Han or hiragana, written without spaces between words."""
    return (
        "\u3040" <= character <= "\u309f"
        or "\u3400" <= character <= "\u9fff"
        or "\uf900" <= character <= "\ufaff"
        or "\U00020000" <= character <= "\U0003ffff"
    )
