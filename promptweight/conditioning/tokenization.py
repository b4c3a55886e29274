"""Tokenization of weighted prompts: token tables with the weights assigned by character offsets.

The clean text is tokenized once, so a weight never changes the token ids. The dialects of other tools follow
those tools: a1111, comfy and compel tokenize each weighted segment separately, and a1111 and comfy split long
prompts into chunks by the rules of their tools.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from promptweight.conditioning.chunking import (
    TextToken,
    Unit,
    pack_by_comma,
    pack_by_segment,
    pack_by_unit,
    read_chunk_layout,
)
from promptweight.conditioning.compel_blend import join_tables, split_blocks
from promptweight.conditioning.token_table import Token, TokenTable, Word, build_chunk
from promptweight.prompt import fold, part_prompt, split_words

if TYPE_CHECKING:
    from promptweight.conditioning.families import EncoderKind
    from promptweight.prompt import Prompt, Span
    from promptweight.protocols import Tokenizer

_SEPARATE_SEGMENTS = frozenset({"a1111", "comfy", "compel"})
"""Dialects that tokenize each weighted segment separately, as their tools do."""


@dataclass
class PromptTokenizer:
    """The tokenizer of one text encoder.

    Attributes:
        kind: the text encoder.
        tokenizer: the tokenizer of transformers.
        max_length: the length of a chunk; None is the tokenizer's own.
        unit: the unit of text that chunks keep whole; None is the rule of the prompt's dialect.
    """

    kind: EncoderKind
    tokenizer: Tokenizer
    max_length: int | None = None
    unit: Unit | None = None

    def tokenize(self, prompt: Prompt) -> TokenTable:
        """Return the token table of a prompt."""
        return tokenize(
            self.tokenizer,
            prompt,
            encoder=self.kind.name,
            max_length=self.max_length,
            max_chunks=None if self.kind.is_chunked else 1,
            unit=self.unit,
        )


def tokenize(
    tokenizer: Tokenizer,
    prompt: Prompt,
    *,
    encoder: str = "clip",
    max_length: int | None = None,
    max_chunks: int | None = None,
    unit: Unit | None = None,
) -> TokenTable:
    """Make the token table of `prompt` for one text encoder.

    A short prompt has exactly the ids of `tokenizer(text, padding="max_length", truncation=True)`. Parts
    joined by compel's `.and()` begin their own chunks in any encoder.

    Args:
        tokenizer: a fast tokenizer of transformers.
        prompt: the parsed prompt.
        encoder: the name of the text encoder.
        max_length: the length of a chunk in tokens; None is the tokenizer's `model_max_length`.
        max_chunks: the most chunks; None is as many as the prompt needs. The text that does not fit becomes
            `truncated_text`. With 1, a break separates words but begins no chunk.
        unit: the unit of text that chunks keep whole; None is the rule of the prompt's dialect.

    Raises:
        ModelError: the tokenizer has no character offsets.
        SettingError: a chunk of this length has no space for text.
    """
    if blocks := split_blocks(prompt):
        of_part = partial(
            tokenize, tokenizer, encoder=encoder, max_length=max_length, max_chunks=max_chunks, unit=unit
        )
        return join_tables(
            prompt, tuple(tuple(of_part(part_prompt(prompt, part)) for part in block) for block in blocks)
        )
    layout = read_chunk_layout(tokenizer, max_length)
    is_segmented = prompt.dialect in _SEPARATE_SEGMENTS
    ranges = _split_ranges(prompt, is_segmented)
    tokenized = _tokenize_ranges(tokenizer, prompt, [each for section in ranges for each in section])
    if max_chunks == 1:
        chunks = [[token for segment in tokenized for token in segment]]
    elif prompt.dialect == "comfy" and unit is None:
        chunks = pack_by_segment(tokenized, layout.capacity)
    else:
        segments = iter(tokenized)
        sections = [[token for _ in section for token in next(segments)] for section in ranges]
        if unit is None:
            chunks = pack_by_comma(sections, layout.capacity, _get_comma_id(tokenizer))
        else:
            chunks = pack_by_unit(sections, layout.capacity, unit, tokenizer.convert_ids_to_tokens)
    chunks, truncated_text = _truncate(prompt.text, chunks, layout.capacity, max_chunks)
    tokens = []
    for number, chunk in enumerate(chunks):
        pieces = tokenizer.convert_ids_to_tokens([token.id for token in chunk])
        tokens += build_chunk(chunk, pieces, layout, number)
    boundaries = [*prompt.breaks, *(span.clean_start for span in prompt.spans if is_segmented)]
    words = merge_words(prompt, tokens, boundaries, _get_added_ids(tokenizer))
    return TokenTable(prompt, encoder, tuple(tokens), words, len(chunks), truncated_text, layout)


def _split_ranges(prompt: Prompt, is_segmented: bool) -> list[list[tuple[int, int]]]:
    """Return the ranges of text to tokenize separately, one list for each section between breaks."""
    sections = list(pairwise([0, *prompt.breaks, len(prompt.text)]))
    if not is_segmented:
        return [[section] for section in sections]
    result = []
    span = 0
    for start, end in sections:
        ranges = []
        while span < len(prompt.spans) and prompt.spans[span].clean_start < end:
            first = max(start, prompt.spans[span].clean_start)
            last = min(end, prompt.spans[span].clean_end)
            if first < last:
                ranges.append((first, last))
            if prompt.spans[span].clean_end > end:
                break
            span += 1
        result.append(ranges)
    return result


def _tokenize_ranges(
    tokenizer: Tokenizer, prompt: Prompt, ranges: Sequence[tuple[int, int]]
) -> list[list[TextToken]]:
    """Tokenize each range of the clean text separately and assign the weights by character offsets."""
    if not ranges:
        return []
    # Tokenizers reject lone surrogates; the replacement character keeps every offset.
    texts = [re.sub("[\ud800-\udfff]", "\ufffd", prompt.text[start:end]) for start, end in ranges]
    encoding = tokenizer(
        texts, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False
    )
    vectors = _get_inversion_ids(tokenizer)
    result = []
    for (offset, _), ids, offsets in zip(ranges, encoding.input_ids, encoding.offset_mapping, strict=True):
        tokens = []
        for token_id, (first, last) in zip(ids, offsets, strict=True):
            start, end = offset + first, offset + last
            span, weight = find_span(prompt, start, end)
            tokens += [
                TextToken(vector, start, end, weight, span) for vector in vectors.get(token_id, (token_id,))
            ]
        result.append(tokens)
    return result


def find_span(prompt: Prompt, start: int, end: int) -> tuple[int, float]:
    """Return the index of the span in which a range of the clean text begins, and the weight of the range."""
    span = max(0, bisect_right(prompt.spans, start, key=lambda each: each.clean_start) - 1)
    return span, _mean_weight(prompt.text, prompt.spans, span, start, end)


def _mean_weight(text: str, spans: Sequence[Span], first: int, start: int, end: int) -> float:
    """Return the weight of `text[start:end]`, which begins in span number `first`.

    Text in several spans has the mean weight of its characters, spaces excluded.
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


def _truncate(
    text: str, chunks: list[list[TextToken]], capacity: int, max_chunks: int | None
) -> tuple[list[list[TextToken]], str]:
    """Return the chunks that fit, and the clean text from the first token that does not."""
    fitting = [chunk[:capacity] for chunk in chunks[:max_chunks]]
    dropped = [token for chunk in chunks[: len(fitting)] for token in chunk[capacity:]]
    dropped += [token for chunk in chunks[len(fitting) :] for token in chunk]
    return fitting, text[dropped[0].start :].strip() if dropped else ""


def merge_words(
    prompt: Prompt,
    tokens: Sequence[Token],
    boundaries: Sequence[int],
    added_ids: Set[int] = frozenset(),
) -> tuple[Word, ...]:
    """Merge tokens into words; a token in two words belongs to both.

    A token with an id in `added_ids` is one word, whatever its characters.
    """
    text_tokens = [token for token in tokens if token.kind == "text"]
    wholes = {token.start: token.end for token in text_tokens if token.id in added_ids}
    occurrences: Counter[str] = Counter()
    words: list[Word] = []
    first = 0
    for start, end, is_punctuation in split_words(prompt.text, boundaries, wholes):
        while first < len(text_tokens) and max(text_tokens[first].end - 1, text_tokens[first].start) < start:
            first += 1
        last = first
        while last < len(text_tokens) and text_tokens[last].start < end:
            last += 1
        if last == first:
            continue
        text = prompt.text[start:end]
        span, weight = find_span(prompt, start, end)
        words.append(
            Word(
                text,
                start,
                end,
                weight,
                tuple(token.position for token in text_tokens[first:last]),
                index=len(words),
                occurrence=occurrences[fold(text)],
                options=prompt.spans[span].options if prompt.spans else None,
                is_punctuation=is_punctuation,
            )
        )
        occurrences[fold(text)] += 1
    return tuple(words)


def _get_comma_id(tokenizer: Tokenizer) -> int | None:
    """Return the id of a single comma; None where the tokenizer has none."""
    ids = tokenizer(",", add_special_tokens=False).input_ids
    return ids[0] if len(ids) == 1 else None


def _get_added_ids(tokenizer: Tokenizer) -> set[int]:
    """Return the ids of the names added to the vocabulary, such as textual inversions."""
    return set(tokenizer.added_tokens_encoder.values()) - {tokenizer.unk_token_id}


def _get_inversion_ids(tokenizer: Tokenizer) -> dict[int, tuple[int, ...]]:
    """Return the ids of each textual inversion of several vectors, by the id of its first.

    diffusers adds such a token as `<name>`, `<name>_1`, `<name>_2` … and expands `<name>` in a prompt to all
    of them.
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
