"""TODO doc"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence, Set
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from promptweight.conditioning.chunking import (
    TextToken,
    added_ids,
    comma_id,
    pack_by_comma,
    pack_by_segment,
    pieces_of,
    read_chunk_layout,
    weight_of,
)
from promptweight.conditioning.compel_blend import join_tables, split_blocks
from promptweight.conditioning.token_table import Token, TokenTable, Word, _chunk_tokens
from promptweight.prompt import fold, part_prompt, split_words

if TYPE_CHECKING:
    from promptweight.prompt import Prompt


_SEGMENTS_APART = frozenset({"a1111", "comfy", "compel"})


def tokenize(
    tokenizer: Any,
    prompt: Prompt,
    *,
    encoder: str = "clip",
    max_length: int | None = None,
    max_chunks: int | None = None,
) -> TokenTable:
    """Make the token table of `prompt` for one text encoder.

    `tokenizer` is a fast tokenizer of transformers; `max_length` the length of a chunk in tokens (default:
    the tokenizer's `model_max_length`). A prompt takes as many chunks as it needs, or at most `max_chunks`;
    the text that does not fit is quoted in `cut`. With one chunk at most, a break divides words but begins
    no chunk. A short prompt has exactly the ids that `tokenizer(text, padding="max_length",
    truncation=True)` gives. Parts that compel's `.and()` joins begin chunks of their own in any encoder.

    Raises `ModelError` for a tokenizer without character offsets, `SettingError` for an impossible length.
    """
    if blocks := split_blocks(prompt):
        read = partial(tokenize, tokenizer, encoder=encoder, max_length=max_length, max_chunks=max_chunks)
        return join_tables(
            prompt, tuple(tuple(read(part_prompt(prompt, part)) for part in block) for block in blocks)
        )
    frame = read_chunk_layout(tokenizer, max_length)
    apart = prompt.dialect in _SEGMENTS_APART
    stretches = _stretches(prompt, apart)
    pieces = pieces_of(tokenizer, prompt, [stretch for section in stretches for stretch in section])
    if max_chunks == 1:
        chunks = [[piece for segment in pieces for piece in segment]]
    elif prompt.dialect == "comfy":
        chunks = pack_by_segment(pieces, frame.capacity)
    else:
        segments = iter(pieces)
        sections = [[piece for _ in section for piece in next(segments)] for section in stretches]
        chunks = pack_by_comma(sections, frame.capacity, comma_id(tokenizer))
    chunks, cut = _cut(prompt.text, chunks, frame.capacity, max_chunks)
    tokens = []
    for number, chunk in enumerate(chunks):
        names = tokenizer.convert_ids_to_tokens([piece.id for piece in chunk])
        tokens += _chunk_tokens(chunk, names, frame, number)
    edges = [*prompt.breaks, *(span.clean_start for span in prompt.spans if apart)]
    words = _words(prompt, tokens, edges, added_ids(tokenizer))
    return TokenTable(prompt, encoder, tuple(tokens), words, len(chunks), cut, frame)


def _stretches(prompt: Prompt, apart: bool) -> list[list[tuple[int, int]]]:
    """The stretches of text that are tokenized by themselves: a list for each section between breaks."""
    edges = [0, *prompt.breaks, len(prompt.text)]
    sections = list(pairwise(edges))
    if not apart:
        return [[section] for section in sections]
    result = []
    span = 0
    for start, end in sections:
        stretches = []
        while span < len(prompt.spans) and prompt.spans[span].clean_start < end:
            first = max(start, prompt.spans[span].clean_start)
            last = min(end, prompt.spans[span].clean_end)
            if first < last:
                stretches.append((first, last))
            if prompt.spans[span].clean_end > end:
                break
            span += 1
        result.append(stretches)
    return result


def _cut(
    text: str, chunks: list[list[TextToken]], capacity: int, max_chunks: int | None
) -> tuple[list[list[TextToken]], str]:
    """Leave the chunks that fit, and quotes the clean text from the first token that does not."""
    kept = [chunk[:capacity] for chunk in chunks[:max_chunks]]
    dropped = [piece for chunk in chunks[: len(kept)] for piece in chunk[capacity:]]
    dropped += [piece for chunk in chunks[len(kept) :] for piece in chunk]
    return kept, text[dropped[0].start :].strip() if dropped else ""


def _words(
    prompt: Prompt, tokens: Sequence[Token], edges: Sequence[int], names: Set[int]
) -> tuple[Word, ...]:
    """Merge tokens into words; a token that lies on two words belongs to both.

    A token whose id is in `names` stands for a word of its own, whatever characters it is written with.
    """
    text_tokens = [token for token in tokens if token.kind == "text"]
    wholes = {token.start: token.end for token in text_tokens if token.id in names}
    span_starts = [span.clean_start for span in prompt.spans]
    seen: Counter[str] = Counter()
    words: list[Word] = []
    first = 0
    for start, end, is_punctuation in split_words(prompt.text, edges, wholes):
        while first < len(text_tokens) and max(text_tokens[first].end - 1, text_tokens[first].start) < start:
            first += 1
        last = first
        while last < len(text_tokens) and text_tokens[last].start < end:
            last += 1
        if last == first:
            continue
        text = prompt.text[start:end]
        span = max(0, bisect_right(span_starts, start) - 1)
        words.append(
            Word(
                text,
                start,
                end,
                weight_of(prompt.text, prompt.spans, span, start, end),
                tuple(token.position for token in text_tokens[first:last]),
                index=len(words),
                occurrence=seen[fold(text)],
                options=prompt.spans[span].options if prompt.spans else None,
                is_punctuation=is_punctuation,
            )
        )
        seen[fold(text)] += 1
    return tuple(words)
