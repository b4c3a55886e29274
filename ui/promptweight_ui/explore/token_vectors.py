"""Vectors of the tokens for the Explore tab: embedding, position, their sum, and the encoder's output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from promptweight_ui.i18n import encodable

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight.conditioning import TokenTable

MAX_DIMENSIONS = 64
"""Numbers of a vector that are drawn."""

MAX_WORDS = 14
"""Words of a chunk that are compared with each other."""

STAGES = ("embedding", "sum", "output")
"""Vectors that words are compared by: before and after the position is added, and after all layers."""


@dataclass(frozen=True)
class ChunkVectors:
    """Vectors of the tokens of one chunk, without padding.

    Attributes:
        ids: the id of each token in the vocabulary.
        words: the text of each word and the rows of its tokens.
        embedding: the row of each token in the embedding table, (tokens, dim) float32.
        position: the row of each position, in the same shape; None for encoders without such a table.
        sum: the input of the first layer, embedding + position.
        output: the output of the last layer.
    """

    ids: tuple[int, ...]
    words: tuple[tuple[str, tuple[int, ...]], ...]
    embedding: Tensor
    position: Tensor | None
    sum: Tensor
    output: Tensor

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        tensors = (self.embedding, self.position, self.sum, self.output)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


@dataclass
class RecordedVectors:
    """Vectors of every run of an encoder, each (tokens, dim) float32, padding included."""

    embedding: list[Tensor] = field(default_factory=list)
    position: list[Tensor] = field(default_factory=list)
    output: list[Tensor] = field(default_factory=list)


@contextmanager
def recorded_vectors(model: Any) -> Iterator[RecordedVectors]:
    """Yield the vectors of each run of a text encoder inside the block, in the order of the runs."""
    recorded = RecordedVectors()

    def keep(_: Any, __: Any, output: Any, *, vectors: list[Tensor]) -> None:
        value = getattr(output, "last_hidden_state", output)
        vectors.append(value[0].float().cpu())

    hooks = [
        model.get_input_embeddings().register_forward_hook(partial(keep, vectors=recorded.embedding)),
        model.register_forward_hook(partial(keep, vectors=recorded.output)),
    ]
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "position_embedding":
            hooks.append(module.register_forward_hook(partial(keep, vectors=recorded.position)))
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()


def chunk_vectors(
    recorded: RecordedVectors, run: int, table: TokenTable, first_row: int, rows: Sequence[int]
) -> ChunkVectors:
    """Return the vectors of some rows of a chunk.

    Args:
        recorded: the vectors of all runs.
        run: the index of the run that encoded the chunk.
        table: the tokens of the prompt.
        first_row: the row of the table with which the chunk begins.
        rows: the rows of the chunk to take, counted from its beginning.
    """
    places = {first_row + row: place for place, row in enumerate(rows)}
    embedding = recorded.embedding[run][list(rows)]
    position = recorded.position[run][list(rows)] if recorded.position else None
    ids = {token.position: token.id for token in table.tokens}
    words = [
        (encodable(word.text), tuple(places[row] for row in word.positions))
        for word in table.words
        if not word.is_punctuation and word.positions and all(row in places for row in word.positions)
    ]
    return ChunkVectors(
        tuple(ids[row] for row in places),
        tuple(words[:MAX_WORDS]),
        embedding,
        position,
        embedding if position is None else embedding + position,
        recorded.output[run][list(rows)],
    )


def describe(chunks: Sequence[ChunkVectors]) -> dict[str, Any]:
    """Return what can be selected, and the length of a vector."""
    return {
        "ids": [list(chunk.ids) for chunk in chunks],
        "words": [[text for text, _ in chunk.words] for chunk in chunks],
        "dimensions": chunks[0].embedding.shape[1],
        "positions": chunks[0].position is not None,
    }


def token_values(chunks: Sequence[ChunkVectors], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the vectors of a token, and the cosine similarity of the words.

    Args:
        chunks: the vectors of each chunk.
        request: `chunk` and `token`, indices, and `stage`, one of `STAGES`.

    Raises:
        IndexError: there is no such chunk, token or stage.
    """
    chunk, token, stage = (request.get(name) for name in ("chunk", "token", "stage"))
    if type(chunk) is not int or not 0 <= chunk < len(chunks) or stage not in STAGES:
        raise IndexError("chunk or stage")
    of_chunk = chunks[chunk]
    if type(token) is not int or not 0 <= token < len(of_chunk.ids):
        raise IndexError("token")
    vectors = {"embedding": of_chunk.embedding, "position": of_chunk.position, "sum": of_chunk.sum}
    return {
        **{
            name: None if rows is None else [float(f"{value:.4g}") for value in rows[token, :MAX_DIMENSIONS]]
            for name, rows in vectors.items()
        },
        "similarity": cosine_similarity(of_chunk, str(stage)),
    }


def cosine_similarity(chunk: ChunkVectors, stage: str) -> list[list[float]]:
    """Return the cosine similarity of every word to every word, −1 to 1.

    The vector of a word is the mean of those of its tokens.

    Args:
        chunk: the vectors of a chunk.
        stage: one of `STAGES`.
    """
    import torch

    if not chunk.words:
        return []
    rows = getattr(chunk, stage)
    means = torch.stack([rows[list(places)].mean(0) for _, places in chunk.words])
    directions = torch.nn.functional.normalize(means, dim=1)
    return [[round(value, 4) for value in row] for row in (directions @ directions.T).tolist()]
