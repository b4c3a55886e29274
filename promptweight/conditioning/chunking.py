"""What a tokenizer makes of a clean text: pieces, the characters they stand for, and their weights."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from promptweight.errors import ModelError, SettingError

if TYPE_CHECKING:
    from promptweight.prompt import Prompt, Span

_NO_LIMIT = 1_000_000  # a tokenizer that knows no limit says 1e30


class TextToken(NamedTuple):
    """One token of text before it has a row; `start` and `end` are character offsets in the clean text."""

    id: int
    start: int
    end: int
    weight: float
    span: int


class SpecialToken(NamedTuple):
    """A token that stands for no text."""

    id: int
    piece: str


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """What a tokenizer puts round the text of one chunk: beginning, end, padding, and how long a chunk is."""

    before: tuple[SpecialToken, ...]
    after: tuple[SpecialToken, ...]
    pad: SpecialToken
    length: int

    @property
    def capacity(self) -> int:
        """How many tokens of text a chunk holds."""
        return self.length - len(self.before) - len(self.after)


def read_chunk_layout(tokenizer: Any, max_length: int | None = None) -> ChunkLayout:
    """Read a tokenizer's special tokens; `max_length` defaults to its `model_max_length`.

    Raises `ModelError` for a tokenizer without character offsets, `SettingError` for an impossible length.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"The tokenizer {type(tokenizer).__name__} gives no character offsets, so weights cannot be laid "
            "on its tokens; a fast tokenizer (backed by the tokenizers library) is needed."
        )
    length = int(min(tokenizer.model_max_length if max_length is None else max_length, _NO_LIMIT))
    ids = list(tokenizer("").input_ids)
    if not len(ids) < length < _NO_LIMIT:
        raise SettingError(
            f"A chunk of {length} tokens cannot be filled: the tokenizer {type(tokenizer).__name__} needs a "
            f"max_length between {len(ids) + 1} and {_NO_LIMIT - 1}."
        )
    special = [SpecialToken(number, tokenizer.convert_ids_to_tokens(number)) for number in ids]
    # CLIP, T5 and their like close with one end token; whatever comes before it opens the text.
    closing = 1 if ids and ids[-1] == tokenizer.eos_token_id else 0
    opening = len(special) - closing
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return ChunkLayout(
        tuple(special[:opening]),
        tuple(special[opening:]),
        SpecialToken(pad, tokenizer.convert_ids_to_tokens(pad)),
        length,
    )


def pieces_of(tokenizer: Any, prompt: Prompt, stretches: Sequence[tuple[int, int]]) -> list[list[TextToken]]:
    """Tokenizes stretches of the clean text, each by itself, and lays the weights on by offsets."""
    if not stretches:
        return []
    # A lone surrogate is no text that a tokenizer can read; its replacement keeps every offset.
    texts = [re.sub("[\ud800-\udfff]", "\ufffd", prompt.text[start:end]) for start, end in stretches]
    encoding = tokenizer(
        texts, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False
    )
    vectors = _vectors_of_added_tokens(tokenizer)
    span_starts = [span.clean_start for span in prompt.spans]
    result = []
    for (offset, _), ids, places in zip(stretches, encoding.input_ids, encoding.offset_mapping, strict=True):
        pieces = []
        for token_id, place in zip(ids, places, strict=True):
            start, end = offset + place[0], offset + place[1]
            span = max(0, bisect_right(span_starts, start) - 1)
            weight = weight_of(prompt.text, prompt.spans, span, start, end)
            pieces += [
                TextToken(vector, start, end, weight, span) for vector in vectors.get(token_id, (token_id,))
            ]
        result.append(pieces)
    return result


def weight_of(text: str, spans: Sequence[Span], first: int, start: int, end: int) -> float:
    """The weight of `text[start:end]`, which begins in span `first`.

    That of its span; where it lies on several, the mean over its characters, spaces left out.
    """
    if not spans:
        return 1.0
    weights: list[float] = []
    for span in range(first, len(spans)):
        if spans[span].clean_start >= end:
            break
        covered = text[max(start, spans[span].clean_start) : min(end, spans[span].clean_end)]
        weights += [spans[span].weight] * sum(not character.isspace() for character in covered)
    if len(set(weights)) > 1:
        return sum(weights) / len(weights)
    return float(weights[0] if weights else spans[first].weight)


def comma_id(tokenizer: Any) -> int | None:
    """The id of a comma that stands by itself, where the tokenizer has one."""
    ids = tokenizer(",", add_special_tokens=False).input_ids
    return ids[0] if len(ids) == 1 else None


def added_ids(tokenizer: Any) -> set[int]:
    """The ids of the names that were added to the vocabulary, textual inversions above all."""
    return set(tokenizer.added_tokens_encoder.values()) - {tokenizer.unk_token_id}


def _vectors_of_added_tokens(tokenizer: Any) -> dict[int, tuple[int, ...]]:
    """The ids of each textual-inversion token of several vectors, by the id of its first.

    diffusers adds such a token as `<name>`, `<name>_1`, `<name>_2` … and writes them all where a prompt says
    `<name>`.
    """
    added = tokenizer.added_tokens_encoder
    vectors = {}
    for token, first in added.items():
        ids = [first]
        while (following := f"{token}_{len(ids)}") in added:
            ids.append(added[following])
        if len(ids) > 1:
            vectors[first] = tuple(ids)
    return vectors


COMMA_BACKOFF = 20
"""A comma at most this many tokens before the end of a full chunk takes what follows it into the next."""


SHORT_SEGMENT = 8
"""ComfyUI moves a segment of fewer tokens than this whole into the next chunk instead of cutting it."""


def pack_by_comma(
    sections: Iterable[Sequence[TextToken]], capacity: int, comma_id: int | None, backoff: int = COMMA_BACKOFF
) -> list[list[TextToken]]:
    """Fill chunks of `capacity` pieces; each section begins a new one (AUTOMATIC1111, `tokenize_line`).

    When a chunk is full and its last comma is at most `backoff` pieces back, the text after the comma moves
    to the next chunk. An empty section gives an empty chunk, except the last. At least one chunk is
    returned.
    """
    chunks: list[list[TextToken]] = []
    chunk: list[TextToken] = []
    for number, section in enumerate(sections):
        if number > 0:
            chunks.append(chunk)
            chunk = []
        last_comma = -1
        for piece in section:
            if piece.id == comma_id:
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
            chunk.append(piece)
    if chunk or not chunks:
        chunks.append(chunk)
    return chunks


def pack_by_segment(
    segments: Iterable[Sequence[TextToken]], capacity: int, short: int = SHORT_SEGMENT
) -> list[list[TextToken]]:
    """Fill chunks of `capacity` pieces, cutting no segment shorter than `short` (`tokenize_with_weights`).

    ComfyUI's rule: a longer segment is cut where the chunk is full, also inside a word.
    """
    chunks: list[list[TextToken]] = [[]]
    for segment in segments:
        rest = list(segment)
        may_cut = len(rest) >= short or len(rest) > capacity
        while len(chunks[-1]) + len(rest) > capacity:
            room = capacity - len(chunks[-1]) if may_cut else 0
            chunks[-1].extend(rest[:room])
            rest = rest[room:]
            chunks.append([])
        chunks[-1].extend(rest)
    return chunks
