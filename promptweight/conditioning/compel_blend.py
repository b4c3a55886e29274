"""Prompts that compel's `.and()` and `.blend()` join: parts read each by itself, then put together.

    ("um gato", "um fundo azul").and()          the rows of the parts, one part after the other
    ("um gato", "um gato").and(1, 0.5)          those of a part with a weight w: e + (p − e)·w
    ("um gato", "um peixe").blend(0.7, 0.3)     Σ w_k·p_k / Σ w_k, or with `no_normalize` Σ w_k·p_k

p are the embeddings of a part, e those of an empty text, as in damian0815/compel. A row of a blend stands for
the words of all its parts that have this row; none of them can be told from the others by it.
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

KINDS = ("text", "eos", "bos", "pad")
"""What a row of a blend is said to be, where its parts differ: the first of these."""


def split_blocks(prompt: Prompt) -> tuple[tuple[Part, ...], ...]:
    """The parts of a prompt that is joined before the model sees it; those of one blend together.

    Empty where the prompt is one text: of another dialect, or with nothing to join.
    """
    parts = prompt.parts
    if prompt.dialect != "compel" or (len(parts) == 1 and parts[0].blend is None and parts[0].weight == 1):
        return ()
    numbered = enumerate(parts)
    groups = groupby(numbered, lambda pair: (pair[1].blend, pair[0] if pair[1].blend is None else -1))
    return tuple(tuple(part for _, part in group) for _, group in groups)


def has_blend(table: TokenTable) -> bool:
    """Whether rows of a table stand for the words of several parts at once."""
    return any(len(block) > 1 for block in table.parts)


def join_tables(prompt: Prompt, parts: tuple[tuple[TokenTable, ...], ...]) -> TokenTable:
    """The table of a joined prompt.

    Args:
        prompt: the whole prompt.
        parts: the token tables of its parts, as in `split_blocks`.
    """
    tokens: list[Token] = []
    words: list[Word] = []
    places = iter(prompt.parts)
    chunks = 0
    for block in parts:
        longest = max(table.chunks for table in block)
        moved = [moved_table(table.padded(longest), prompt, next(places), chunks) for table in block]
        rows = zip(*(of_part for of_part, _ in moved), strict=True)
        tokens += [min(row, key=lambda token: KINDS.index(token.kind)) for row in rows]
        words += [word for _, of_part in moved for word in of_part]
        chunks += longest
    return replace(
        parts[0][0],
        prompt=prompt,
        tokens=tuple(tokens),
        words=tuple(renumbered(words)),
        chunks=chunks,
        cut=" ".join(table.cut for block in parts for table in block if table.cut),
        parts=parts,
    )


def moved_table(table: TokenTable, prompt: Prompt, part: Part, chunks: int) -> tuple[list[Token], list[Word]]:
    """The tokens and words of a part's table, as they stand in the whole behind so many chunks."""
    rows = chunks * table.frame.length
    start = part.clean_start
    spans = sum(span.clean_start < start for span in prompt.spans)
    tokens = []
    for token in table.tokens:
        moved = replace(token, chunk=token.chunk + chunks, position=token.position + rows)
        if token.kind == "text":
            moved = replace(moved, start=token.start + start, end=token.end + start, span=token.span + spans)
        tokens.append(moved)
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


def renumbered(words: Sequence[Word]) -> Iterator[Word]:
    """The words with their numbers in this order."""
    seen: Counter[str] = Counter()
    for index, word in enumerate(words):
        name = fold(word.text)
        yield replace(word, index=index, occurrence=seen[name])
        seen[name] += 1


def join_embeddings(table: TokenTable, embed: Callable[[TokenTable], Tensor], empty: Tensor) -> Tensor:
    """The embeddings of a joined prompt, (chunks x tokens, dim).

    Args:
        table: its token table.
        embed: gives the embeddings of one part's table.
        empty: the embeddings of an empty chunk, (tokens, dim).

    Raises:
        SettingError: the weights of a blend sum to 0.
    """
    import torch

    rows = []
    for parts, tables in zip(split_blocks(table.prompt), table.parts, strict=True):
        chunks = max(each.chunks for each in tables)
        read = [torch.cat([embed(each), *[empty] * (chunks - each.chunks)]) for each in tables]
        if parts[0].blend is None:
            base = empty.repeat(chunks, 1).float()
            weight = parts[0].weight
            rows.append(read[0] if weight == 1 else (base + (read[0] - base) * weight).to(empty.dtype))
        else:
            rows.append(blended(parts, read))
    return torch.cat(rows)


def join_pooled(table: TokenTable, pool: Callable[[TokenTable], Tensor]) -> Tensor:
    """The pooled vector (dim) of a joined prompt: its first part's, or that of its first blend, blended."""
    parts, tables = split_blocks(table.prompt)[0], table.parts[0]
    return pool(tables[0]) if parts[0].blend is None else blended(parts, [pool(each) for each in tables])


def blended(parts: Sequence[Part], tensors: Sequence[Tensor]) -> Tensor:
    """The weighted sum of what was made of the parts of a blend; divided by the weights' unless told not to.

    Raises:
        SettingError: it is to be divided by 0.
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
