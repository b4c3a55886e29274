"""Chunks of a long prompt: their special tokens, their length, and the rules that fill them with text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from promptweight.errors import ModelError, SettingError
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.protocols import Tokenizer

_MAX_LENGTH = 1_000_000
"""A larger `model_max_length` means no limit; tokenizers without one have 1e30."""

COMMA_BACKOFF = 20
"""Number of tokens at the end of a full chunk in which a comma moves the text after it to the next chunk."""

MAX_WORD_LENGTH = 8
"""A segment of fewer tokens moves whole to the next chunk (ComfyUI, `max_word_length`)."""


Unit = Literal["sentences", "phrases", "words", "tokens"]
"""A unit of text that chunks keep whole; "tokens" fills each chunk to its end."""

_UNIT_ENDS: tuple[tuple[Unit, tuple[str, ...]], ...] = (
    ("sentences", (".</w>",)),
    ("phrases", (".</w>", ",</w>", ";</w>", ":</w>")),
)


class TextToken(NamedTuple):
    """A token of text without a row yet; `start` and `end` are character offsets in the clean text."""

    id: int
    start: int
    end: int
    weight: float
    span: int


class SpecialToken(NamedTuple):
    """A token without text: its id and its text in the vocabulary."""

    id: int
    piece: str


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """The special tokens of a chunk and its length.

    Attributes:
        before: the tokens before the text.
        after: the tokens after the text.
        pad: the token that fills the rest.
        length: the number of tokens in a chunk.
    """

    before: tuple[SpecialToken, ...]
    after: tuple[SpecialToken, ...]
    pad: SpecialToken
    length: int

    @property
    def capacity(self) -> int:
        """Number of text tokens in a chunk."""
        return self.length - len(self.before) - len(self.after)


def read_chunk_layout(tokenizer: Tokenizer, max_length: int | None = None) -> ChunkLayout:
    """Return the chunk layout of a tokenizer; `max_length` defaults to its `model_max_length`.

    Raises:
        ModelError: the tokenizer has no character offsets.
        SettingError: a chunk of this length has no space for text.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(message("tokenizer-without-offsets", tokenizer=type(tokenizer).__name__))
    length = int(min(tokenizer.model_max_length if max_length is None else max_length, _MAX_LENGTH))
    ids = list(tokenizer("").input_ids)
    if not len(ids) < length < _MAX_LENGTH:
        raise SettingError(
            message(
                "max-length-range",
                lowest=len(ids) + 1,
                highest=_MAX_LENGTH - 1,
                tokenizer=type(tokenizer).__name__,
                length=length,
            )
        )
    special = [SpecialToken(number, tokenizer.convert_ids_to_tokens(number)) for number in ids]
    # CLIP, T5 and similar tokenizers end with one end token; the tokens before it open the text.
    closing = 1 if ids and ids[-1] == tokenizer.eos_token_id else 0
    opening = len(special) - closing
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return ChunkLayout(
        tuple(special[:opening]),
        tuple(special[opening:]),
        SpecialToken(pad, tokenizer.convert_ids_to_tokens(pad)),
        length,
    )


def pack_by_comma(
    sections: Iterable[Sequence[TextToken]],
    capacity: int,
    comma_id: int | None,
    backoff: int = COMMA_BACKOFF,
) -> list[list[TextToken]]:
    """Fill chunks of `capacity` tokens; each section begins a new one (AUTOMATIC1111, `tokenize_line`).

    When a chunk is full and its last comma is at most `backoff` tokens back, the text after the comma moves
    to the next chunk. An empty section gives an empty chunk, except the last. At least one chunk is returned.
    """
    chunks: list[list[TextToken]] = []
    chunk: list[TextToken] = []
    for number, section in enumerate(sections):
        if number > 0:
            chunks.append(chunk)
            chunk = []
        last_comma = -1
        for token in section:
            if token.id == comma_id:
                last_comma = len(chunk)
            elif len(chunk) == capacity and last_comma != -1 and capacity - last_comma <= backoff:
                moved = chunk[last_comma + 1 :]
                chunks.append(chunk[: last_comma + 1])
                chunk = moved
                last_comma = -1
            if len(chunk) == capacity:
                chunks.append(chunk)
                chunk = []
                last_comma = -1
            chunk.append(token)
    if chunk or not chunks:
        chunks.append(chunk)
    return chunks


def pack_by_segment(
    segments: Iterable[Sequence[TextToken]], capacity: int, max_word_length: int = MAX_WORD_LENGTH
) -> list[list[TextToken]]:
    """Fill chunks of `capacity` tokens without splitting short segments (ComfyUI, `tokenize_with_weights`).

    A segment of `max_word_length` tokens or more is split where the chunk is full, even inside a word.
    """
    chunks: list[list[TextToken]] = [[]]
    for segment in segments:
        rest = list(segment)
        can_split = len(rest) >= max_word_length or len(rest) > capacity
        while len(chunks[-1]) + len(rest) > capacity:
            space = capacity - len(chunks[-1]) if can_split else 0
            chunks[-1].extend(rest[:space])
            rest = rest[space:]
            chunks.append([])
        chunks[-1].extend(rest)
    return chunks


def pack_by_unit(
    sections: Iterable[Sequence[TextToken]],
    capacity: int,
    unit: Unit,
    name_tokens: Callable[[list[int]], list[str]],
) -> list[list[TextToken]]:
    """Fill chunks of `capacity` tokens up to the last end of a unit (compel, `SplitLongTextMode`).

    Where a full chunk has no end of a sentence, the last end of a phrase counts, else that of a word, else
    the chunk is filled to its end. Each section begins a new chunk; at least one chunk is returned.

    Args:
        sections: the tokens between breaks.
        capacity: the number of tokens in a chunk.
        unit: the unit that is kept whole.
        name_tokens: returns the tokens of ids in the tokenizer's vocabulary, where `</w>` ends a word.
    """
    chunks: list[list[TextToken]] = []
    for section in sections:
        rest = list(section)
        while len(rest) > capacity:
            end = _find_unit_end(name_tokens([token.id for token in rest[:capacity]]), unit)
            chunks.append(rest[:end])
            rest = rest[end:]
        chunks.append(rest)
    if len(chunks) > 1 and not chunks[-1]:
        chunks.pop()
    return chunks or [[]]


def _find_unit_end(pieces: Sequence[str], unit: Unit) -> int:
    """Return the number of tokens up to the last end of a unit in a full chunk."""
    if unit == "tokens":
        return len(pieces)
    for ends in (ends for name, ends in _UNIT_ENDS if unit in ("sentences", name)):
        for number in range(len(pieces), 0, -1):
            if pieces[number - 1] in ends:
                return number
    for number in range(len(pieces), 0, -1):
        if pieces[number - 1].endswith("</w>"):
            return number
    return len(pieces)
