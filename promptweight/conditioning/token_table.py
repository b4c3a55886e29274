"""The token table: which rows of an encoder's embeddings stand for which word, and at which weight.

The clean text is tokenized once and weights are laid on by character offsets, so a weight never changes the
tokenisation. The dialects that reproduce other tools tokenize each weighted segment apart, and a1111 and
comfy cut long prompts where those tools do. One table is made for each prompt and encoder; the embeddings,
the attention maps and the app all read the same words from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from promptweight.conditioning.chunking import (
    ChunkLayout,
    SpecialToken,
    TextToken,
)
from promptweight.errors import WordNotFoundError
from promptweight.messages import Message, message
from promptweight.prompt import fold, split_words

if TYPE_CHECKING:
    from promptweight.prompt import Options, Prompt

NO_WORDS = message("none")

TokenKind = Literal["bos", "text", "eos", "pad"]


@dataclass(frozen=True, slots=True)
class Token:
    """One row of an encoder's embeddings.

    `start` and `end` are character offsets in the clean text (0, 0 for the special tokens); `position` is the
    row, chunks being laid end to end; `span` is the index of its span in the prompt, -1 for special tokens.
    """

    id: int
    piece: str
    start: int
    end: int
    chunk: int
    position: int
    weight: float
    kind: TokenKind
    span: int = -1


@dataclass(frozen=True, slots=True)
class Word:
    """A word as people see it: its place in the clean text and the rows of the embeddings that stand for it.

    `index` counts the words of the table, `occurrence` the equal words before it; `options` are those of
    the span in which the word begins.
    """

    text: str
    start: int
    end: int
    weight: float
    positions: tuple[int, ...]
    index: int
    occurrence: int
    options: Options | None = field(default=None, hash=False)
    is_punctuation: bool = False


@dataclass(frozen=True)
class TokenTable:
    """The tokens and words of one prompt for one encoder.

    `cut` quotes the end of the clean text that did not fit in; its words are not in `words`. `parts` are the
    tables that the table of a joined prompt was made of (`promptweight.conditioning.compel_blend`): a row of a
    blend stands for a token of each, of which `tokens` holds one, while `words` are those of all.
    """

    prompt: Prompt
    encoder: str
    tokens: tuple[Token, ...]
    words: tuple[Word, ...]
    chunks: int
    cut: str
    frame: ChunkLayout
    parts: tuple[tuple[TokenTable, ...], ...] = field(default=(), repr=False)

    @property
    def rows(self) -> int:
        """How many rows of embeddings the prompt takes: chunks x tokens in a chunk."""
        return len(self.tokens)

    @property
    def ids(self) -> list[list[int]]:
        """The token ids, a list for each chunk."""
        length = self.frame.length
        return [
            [token.id for token in self.tokens[k * length : (k + 1) * length]] for k in range(self.chunks)
        ]

    @property
    def weights(self) -> list[float]:
        """The weight of each row; 1.0 for the special tokens."""
        return [token.weight for token in self.tokens]

    @property
    def is_weighted(self) -> bool:
        """Whether any row has a weight other than 1."""
        return any(token.weight != 1.0 for token in self.tokens)

    def find(self, phrase: str, occurrence: int = 0) -> tuple[Word, ...]:
        """Find consecutive words that read as `phrase`, whatever their case and the composition of accents.

        `occurrence` 0 is the first place, 1 the next. Raises `WordNotFoundError`, which lists the words
        there are.
        """
        names = [name for name in {word.text for word in self.words} if len(split_words(name)) > 1]
        wholes = {
            match.start(): match.end() for name in names for match in re.finditer(re.escape(name), phrase)
        }
        sought = [fold(phrase[start:end]) for start, end, _ in split_words(phrase, (), wholes)]
        folded = [fold(word.text) for word in self.words]
        places = [
            place
            for place in range(len(folded) - len(sought) + 1)
            if sought and folded[place : place + len(sought)] == sought
        ]
        if 0 <= occurrence < len(places):
            place = places[occurrence]
            return self.words[place : place + len(sought)]
        raise WordNotFoundError(self._not_found(phrase, occurrence, len(places)))

    def padded(self, chunks: int) -> TokenTable:
        """The same table with empty chunks added until there are `chunks`."""
        empty = [
            token
            for chunk in range(self.chunks, chunks)
            for token in _chunk_tokens([], [], self.frame, chunk)
        ]
        return replace(self, tokens=(*self.tokens, *empty), chunks=chunks) if empty else self

    def _not_found(self, phrase: str, occurrence: int, places: int) -> Message:
        return (
            describe_missing_occurrence(phrase, occurrence, places)
            if places
            else describe_missing_word(phrase, self.words, self.cut)
        )


def describe_missing_occurrence(phrase: str, occurrence: int, places: int) -> Message:
    """State that a phrase is not in the prompt as often as was thought."""
    if places == 1:
        return message(
            "occurrence-only-one",
            phrase=phrase,
            occurrence=occurrence,
        )
    return message(
        "occurrence-missing",
        phrase=phrase,
        times=places,
        occurrence=occurrence,
    )


def describe_missing_word(phrase: str, words: Iterable[Word], cut: str = "") -> Message:
    """State that a phrase is not in the prompt, and what is; `cut` is the end that was left out."""
    names = ", ".join(dict.fromkeys(repr(word.text) for word in words if not word.is_punctuation)) or NO_WORDS
    if cut:
        return message(
            "word-missing-truncated",
            phrase=phrase,
            words=names,
            cut=cut,
        )
    return message("word-missing", phrase=phrase, words=names)


def _chunk_tokens(pieces: Sequence[TextToken], names: Sequence[str], frame: ChunkLayout, chunk: int) -> list[Token]:
    """The tokens of one whole chunk: beginning, text, end, padding."""
    tokens: list[Token] = []

    def add(token_id: int, name: str, kind: TokenKind, piece: TextToken | None = None) -> None:
        start, end, weight, span = piece[1:] if piece else (0, 0, 1.0, -1)
        position = chunk * frame.length + len(tokens)
        tokens.append(Token(token_id, name, start, end, chunk, position, weight, kind, span))

    def add_special(specials: Sequence[SpecialToken], kind: TokenKind) -> None:
        for special in specials:
            add(special.id, special.piece, kind)

    add_special(frame.before, "bos")
    for piece, name in zip(pieces, names, strict=True):
        add(piece.id, name, "text", piece)
    add_special(frame.after, "eos")
    add_special([frame.pad] * (frame.length - len(tokens)), "pad")
    return tokens
