"""Prompts joined by compel's `.and()` and `.blend()`: their parts are encoded separately and then joined.

    ("um gato", "um fundo azul").and()          the rows of the parts, one part after the other
    ("um gato", "um gato").and(1, 0.5)          a part of weight w: e + (p − e)·w
    ("um gato", "um peixe").blend(0.7, 0.3)     Σ w_k·p_k / Σ w_k, or with `no_normalize` Σ w_k·p_k

p are the embeddings of a part, e those of an empty text, as in damian0815/compel. A row of a blend holds the
words of all its parts that have this row; it does not distinguish them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt import fold

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight.conditioning.token_table import Token, TokenTable, Word
    from promptweight.prompt import Part, Prompt

_KIND_PRIORITY = ("text", "eos", "bos", "pad")
"""The kind of a row of a blend whose parts differ is the first of these."""


def split_blocks(prompt: Prompt) -> tuple[tuple[Part, ...], ...]:
    """Return the parts of a joined prompt, with the parts of one blend in one group.

    Empty where the prompt is one text: in another dialect, or with a single part.
    """
    parts = prompt.parts
    if prompt.dialect != "compel" or (len(parts) == 1 and parts[0].blend is None and parts[0].weight == 1):
        return ()
    numbered = enumerate(parts)
    groups = groupby(numbered, lambda pair: (pair[1].blend, pair[0] if pair[1].blend is None else -1))
    return tuple(tuple(part for _, part in group) for _, group in groups)


def has_blend(table: TokenTable) -> bool:
    """Return whether rows of a table hold the words of several parts."""
    return any(len(block) > 1 for block in table.parts)


def join_tables(prompt: Prompt, parts: tuple[tuple[TokenTable, ...], ...]) -> TokenTable:
    """Join the token tables of a prompt's parts.

    Args:
        prompt: the whole prompt.
        parts: the tables of its parts, grouped as in `split_blocks`.
    """
    tokens: list[Token] = []
    words: list[Word] = []
    remaining = iter(prompt.parts)
    chunks = 0
    for block in parts:
        longest = max(table.chunks for table in block)
        shifted = [_shift_table(table.pad(longest), prompt, next(remaining), chunks) for table in block]
        rows = zip(*(of_part for of_part, _ in shifted), strict=True)
        tokens += [min(row, key=lambda token: _KIND_PRIORITY.index(token.kind)) for row in rows]
        words += [word for _, of_part in shifted for word in of_part]
        chunks += longest
    return replace(
        parts[0][0],
        prompt=prompt,
        tokens=tuple(tokens),
        words=tuple(_renumber_words(words)),
        chunks=chunks,
        truncated_text=" ".join(
            table.truncated_text for block in parts for table in block if table.truncated_text
        ),
        parts=parts,
    )


def _shift_table(
    table: TokenTable, prompt: Prompt, part: Part, chunks: int
) -> tuple[list[Token], list[Word]]:
    """Return the tokens and words of a part's table with the offsets and rows of the whole prompt.

    `chunks` is the number of chunks before the part.
    """
    rows = chunks * table.layout.length
    start = part.clean_start
    spans = sum(span.clean_start < start for span in prompt.spans)
    tokens = []
    for token in table.tokens:
        shifted = replace(token, chunk=token.chunk + chunks, position=token.position + rows)
        if token.kind == "text":
            shifted = replace(
                shifted, start=token.start + start, end=token.end + start, span=token.span + spans
            )
        tokens.append(shifted)
    words = [
        replace(
            word,
            start=word.start + start,
            end=word.end + start,
            positions=tuple(position + rows for position in word.positions),
        )
        for word in table.words
    ]
    return tokens, words


def _renumber_words(words: Sequence[Word]) -> Iterator[Word]:
    """Yield the words with `index` and `occurrence` counted in this order."""
    occurrences: Counter[str] = Counter()
    for index, word in enumerate(words):
        name = fold(word.text)
        yield replace(word, index=index, occurrence=occurrences[name])
        occurrences[name] += 1


def join_embeddings(table: TokenTable, embed: Callable[[TokenTable], Tensor], empty: Tensor) -> Tensor:
    """Join the embeddings of a prompt's parts, (chunks × tokens, dim).

    Args:
        table: its token table.
        embed: returns the embeddings of one part's table.
        empty: the embeddings of an empty chunk, (tokens, dim).

    Raises:
        SettingError: the weights of a blend sum to 0.
    """
    import torch

    rows = []
    for parts, tables in zip(split_blocks(table.prompt), table.parts, strict=True):
        chunks = max(each.chunks for each in tables)
        embeds = [torch.cat([embed(each), *[empty] * (chunks - each.chunks)]) for each in tables]
        if parts[0].blend is None:
            base = empty.repeat(chunks, 1).float()
            weight = parts[0].weight
            rows.append(embeds[0] if weight == 1 else (base + (embeds[0] - base) * weight).to(empty.dtype))
        else:
            rows.append(_blend(parts, embeds))
    return torch.cat(rows)


def join_pooled(table: TokenTable, pool: Callable[[TokenTable], Tensor]) -> Tensor:
    """Return the pooled vector (dim) of a joined prompt: that of its first part or first blend."""
    parts, tables = split_blocks(table.prompt)[0], table.parts[0]
    return pool(tables[0]) if parts[0].blend is None else _blend(parts, [pool(each) for each in tables])


def _blend(parts: Sequence[Part], tensors: Sequence[Tensor]) -> Tensor:
    """Compute the weighted sum of the parts' tensors, by default divided by the sum of the weights.

    Raises:
        SettingError: the weights sum to 0 and the sum is to be divided by them.
    """
    total = sum(part.weight for part in parts) if parts[0].normalize else 1.0
    if total == 0:
        weights = ", ".join(f"{part.weight:g}" for part in parts)
        raise SettingError(
            message(
                "blend-zero-sum",
                weights=weights,
            )
        )
    pairs = zip(parts, tensors, strict=True)
    mixed = sum(tensor.float() * (part.weight / total) for part, tensor in pairs)
    return mixed.to(tensors[0].dtype)  # type: ignore[union-attr]
