"""How the tokens of a long prompt are shared out among the windows ("chunks") of an encoder.

A CLIP encoder reads 77 tokens: a beginning, 75 of text, an end. Two rules are known here, each a pure
function from pieces of text to full chunks: the comma back-off of AUTOMATIC1111's webui, and ComfyUI's,
which keeps short weighted segments whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from promptweight.conditioning.chunking import Piece

COMMA_BACKOFF = 20
"""A comma at most this many tokens before the end of a full chunk takes what follows it into the next."""

SHORT_SEGMENT = 8
"""ComfyUI moves a segment of fewer tokens than this whole into the next chunk instead of cutting it."""


def pack_by_comma(
    sections: Iterable[Sequence[Piece]], capacity: int, comma_id: int | None, backoff: int = COMMA_BACKOFF
) -> list[list[Piece]]:
    """Fills chunks of `capacity` pieces; each section begins a new one (AUTOMATIC1111, `tokenize_line`).

    When a chunk is full and its last comma is at most `backoff` pieces back, the text after the comma moves
    to the next chunk. An empty section gives an empty chunk, except the last. At least one chunk is
    returned.
    """
    chunks: list[list[Piece]] = []
    chunk: list[Piece] = []
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
    segments: Iterable[Sequence[Piece]], capacity: int, short: int = SHORT_SEGMENT
) -> list[list[Piece]]:
    """Fills chunks of `capacity` pieces, cutting no segment shorter than `short` (`tokenize_with_weights`).

    ComfyUI's rule: a longer segment is cut where the chunk is full, also inside a word.
    """
    chunks: list[list[Piece]] = [[]]
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
