"""Token tables: the tokens, words, weights and embedding rows of one prompt for one text encoder.

The embeddings, the attention maps and the app take the words of a prompt from the same table;
`promptweight.conditioning.tokenization` makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from promptweight.conditioning.chunking import ChunkLayout, SpecialToken, TextToken
from promptweight.errors import WordNotFoundError
from promptweight.messages import Message, message
from promptweight.prompt import fold, split_words

if TYPE_CHECKING:
    from promptweight.prompt import Options, Prompt

_NO_WORDS = message("none")

TokenKind = Literal["bos", "text", "eos", "pad"]
"""Kind of a token: text, or a special token at the beginning, at the end or in the padding."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a prompt, which is one row of its embeddings.

    Attributes:
        id: its id in the vocabulary.
        piece: its text in the vocabulary, such as "gato</w>".
        start: its first character in the clean text; 0 for special tokens.
        end: the character after its last one; 0 for special tokens.
        chunk: the index of its chunk.
        position: its row; the rows of all chunks are numbered consecutively.
        weight: its weight, 1.0 for special tokens.
        kind: "text", or the kind of special token.
        span: the index of its span in the prompt, -1 for special tokens.
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
    """A word of the clean text and the embedding rows of its tokens.

    Attributes:
        text: its characters.
        start: its first character in the clean text.
        end: the character after its last one.
        weight: its weight, a mean over its characters where they lie in several spans.
        positions: its rows.
        index: its number in the table.
        occurrence: how many equal words come before it.
        options: those of the span in which the word begins.
        is_punctuation: whether it is a punctuation mark.
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
    """The tokens and words of one prompt for one text encoder.

    Attributes:
        prompt: the parsed prompt.
        encoder: the name of the text encoder.
        tokens: one token for each row, special tokens included.
        words: the words of the clean text that fit.
        chunks: the number of chunks.
        truncated_text: the end of the clean text that did not fit; its words are not in `words`.
        layout: the special tokens and the length of a chunk.
        parts: for a prompt joined by `.and()` or `.blend()`, the tables of its parts, grouped by blend
            (`promptweight.conditioning.compel_blend`). A row of a blend holds a token of each part; `tokens`
            holds one of them, `words` the words of all parts.
    """

    prompt: Prompt
    encoder: str
    tokens: tuple[Token, ...]
    words: tuple[Word, ...]
    chunks: int
    truncated_text: str
    layout: ChunkLayout
    parts: tuple[tuple[TokenTable, ...], ...] = field(default=(), repr=False)

    @property
    def rows(self) -> int:
        """Number of embedding rows: chunks × tokens in a chunk."""
        return len(self.tokens)

    @property
    def ids(self) -> list[list[int]]:
        """Token ids, one list for each chunk."""
        length = self.layout.length
        return [
            [token.id for token in self.tokens[k * length : (k + 1) * length]] for k in range(self.chunks)
        ]

    @property
    def weights(self) -> list[float]:
        """Weight of each row, 1.0 for special tokens."""
        return [token.weight for token in self.tokens]

    @property
    def is_weighted(self) -> bool:
        """True if any row has a weight other than 1."""
        return any(token.weight != 1.0 for token in self.tokens)

    def find(self, phrase: str, occurrence: int = 0) -> tuple[Word, ...]:
        """Find consecutive words that spell `phrase`, ignoring case and the composition of accents.

        Args:
            phrase: one word or several.
            occurrence: 0 for the first match, 1 for the next.

        Raises:
            WordNotFoundError: there is no such occurrence; the error lists the words of the table.
        """
        names = [name for name in {word.text for word in self.words} if len(split_words(name)) > 1]
        wholes = {
            match.start(): match.end() for name in names for match in re.finditer(re.escape(name), phrase)
        }
        wanted = [fold(phrase[start:end]) for start, end, _ in split_words(phrase, (), wholes)]
        folded = [fold(word.text) for word in self.words]
        matches = [
            first
            for first in range(len(folded) - len(wanted) + 1)
            if wanted and folded[first : first + len(wanted)] == wanted
        ]
        if 0 <= occurrence < len(matches):
            first = matches[occurrence]
            return self.words[first : first + len(wanted)]
        if matches:
            raise WordNotFoundError(describe_missing_occurrence(phrase, occurrence, len(matches)))
        raise WordNotFoundError(describe_missing_word(phrase, self.words, self.truncated_text))

    def pad(self, chunks: int) -> TokenTable:
        """Return the table with empty chunks appended until it has `chunks`."""
        empty = [
            token for chunk in range(self.chunks, chunks) for token in build_chunk([], [], self.layout, chunk)
        ]
        return replace(self, tokens=(*self.tokens, *empty), chunks=chunks) if empty else self


def describe_missing_occurrence(phrase: str, occurrence: int, count: int) -> Message:
    """Return the message that a prompt has only `count` occurrences of a phrase."""
    if count == 1:
        return message("occurrence-only-one", phrase=phrase, occurrence=occurrence)
    return message("occurrence-missing", phrase=phrase, times=count, occurrence=occurrence)


def describe_missing_word(phrase: str, words: Iterable[Word], truncated_text: str = "") -> Message:
    """Return the message that a phrase is not in the prompt, with the words that are in it."""
    names = (
        ", ".join(dict.fromkeys(repr(word.text) for word in words if not word.is_punctuation)) or _NO_WORDS
    )
    if truncated_text:
        return message("word-missing-truncated", phrase=phrase, words=names, cut=truncated_text)
    return message("word-missing", phrase=phrase, words=names)


def build_chunk(
    text_tokens: Sequence[TextToken], pieces: Sequence[str], layout: ChunkLayout, chunk: int
) -> list[Token]:
    """Return all tokens of chunk number `chunk`: beginning, text, end and padding.

    Args:
        text_tokens: the tokens of its text.
        pieces: the texts of these tokens in the vocabulary.
        layout: the special tokens and the length of the chunk.
        chunk: its number.
    """
    tokens: list[Token] = []

    def add(token_id: int, piece: str, kind: TokenKind, text: TextToken | None = None) -> None:
        start, end, weight, span = text[1:] if text else (0, 0, 1.0, -1)
        position = chunk * layout.length + len(tokens)
        tokens.append(Token(token_id, piece, start, end, chunk, position, weight, kind, span))

    def add_special(specials: Sequence[SpecialToken], kind: TokenKind) -> None:
        for special in specials:
            add(special.id, special.piece, kind)

    add_special(layout.before, "bos")
    for text, piece in zip(text_tokens, pieces, strict=True):
        add(text.id, piece, "text", text)
    add_special(layout.after, "eos")
    add_special([layout.pad] * (layout.length - len(tokens)), "pad")
    return tokens
