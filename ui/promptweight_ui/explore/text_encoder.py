"""Self-attention of a text encoder for the Explore tab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from promptweight_ui.explore import token_vectors
from promptweight_ui.i18n import encodable

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight.protocols import Pipeline
    from promptweight_ui.explore.token_vectors import ChunkVectors

MAX_CHARACTERS = 1500
"""Characters of a prompt: the attention of all layers and heads is in memory at once."""

MAX_TOKENS = 80
"""Tokens of one chunk, start and end included."""


@dataclass(frozen=True)
class TokenAttention:
    """Self-attention of one text encoder among the tokens without padding.

    Attributes:
        encoder: the name of the encoder.
        labels: the (kind, text) of each token, for each chunk.
        chunks: the attention in each chunk, (layers, heads, tokens, tokens) float16.
        left_out: the number of tokens beyond `MAX_TOKENS`.
        unmasked: for a causal encoder, the softmax of the same queries and keys without the causal mask, over
            the tokens of `labels`, in the shape of `chunks`; empty for other encoders.
        vectors: the vectors of the tokens, for each chunk.
    """

    encoder: str
    labels: tuple[tuple[tuple[str, str], ...], ...]
    chunks: tuple[Tensor, ...]
    left_out: int
    unmasked: tuple[Tensor, ...] = ()
    vectors: tuple[ChunkVectors, ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        matrices = sum(chunk.nbytes for chunk in (*self.chunks, *self.unmasked))
        return matrices + sum(chunk.nbytes for chunk in self.vectors)

    @property
    def is_causal(self) -> bool:
        """True if tokens attend only to themselves and to earlier tokens."""
        return all(float(chunk.float().triu(1).amax()) == 0 for chunk in self.chunks)


def encoder_names(pipe: Pipeline) -> list[str]:
    """Return the names of a pipeline's text encoders."""
    from promptweight.conditioning import find_family, get_text_encoders

    return [kind.name for kind in get_text_encoders(pipe, find_family(pipe))]


def capture_text_attention(pipe: Pipeline, prompt: str, encoder: str) -> TokenAttention:
    """Return the self-attention of one text encoder for a prompt."""
    import torch

    from promptweight.conditioning import find_family, get_text_encoders, record_text_attention

    encoders = {kind.name: each for kind, each in get_text_encoders(pipe, find_family(pipe)).items()}
    model = encoders[encoder].model
    with _recorded_logits(model) as logits, token_vectors.recorded_vectors(model) as vectors:
        recorded = record_text_attention(pipe, prompt, encoder=encoder)
    table = recorded.table
    text, size = table.prompt.text, recorded.probabilities.shape[-1]
    # The encoder runs once for equal chunks.
    runs = {ids: number for number, ids in enumerate(dict.fromkeys(map(tuple, table.ids)))}
    layers = recorded.probabilities.shape[1]
    labels, chunks, unmasked, of_tokens, left_out = [], [], [], [], 0
    for number, probabilities in enumerate(recorded.probabilities):
        tokens = [token for token in table.tokens if token.chunk == number and token.kind != "pad"]
        left_out += len(tokens[MAX_TOKENS:])
        tokens = tokens[:MAX_TOKENS]
        rows = [token.position - number * size for token in tokens]
        run = runs[tuple(table.ids[number])]
        of_tokens.append(token_vectors.chunk_vectors(vectors, run, table, number * size, rows))
        labels.append(
            tuple(
                (token.kind, encodable(text[token.start : token.end]) if token.kind == "text" else "")
                for token in tokens
            )
        )
        chunks.append(probabilities[:, :, rows][:, :, :, rows].half())
        if len(logits) == layers * len(runs):
            of_run = logits[layers * run :][:layers]
            unmasked.append(torch.stack([each[:, rows][:, :, rows].softmax(-1) for each in of_run]).half())
    captured = TokenAttention(
        recorded.encoder, tuple(labels), tuple(chunks), left_out, vectors=tuple(of_tokens)
    )
    return replace(captured, unmasked=tuple(unmasked)) if captured.is_causal else captured


@contextmanager
def _recorded_logits(model: Any) -> Iterator[list[Tensor]]:
    """Yield a list that gets q·k ÷ √d of every CLIP layer that runs, (heads, tokens, tokens), unmasked."""
    logits: list[Tensor] = []
    hooks = []
    for module in model.modules():
        if type(module).__name__ == "CLIPAttention":
            outputs: dict[str, Tensor] = {}

            def keep(_: Any, __: Any, output: Tensor, *, name: str, outputs: dict[str, Tensor]) -> None:
                outputs[name] = output[0].float().cpu()

            def compute(layer: Any, *_: Any, outputs: dict[str, Tensor]) -> None:
                query, key = (outputs[name].unflatten(-1, (layer.num_heads, -1)) for name in "qk")
                logits.append(query.transpose(0, 1) @ key.permute(1, 2, 0) * layer.scale)

            hooks += [
                module.q_proj.register_forward_hook(partial(keep, name="q", outputs=outputs)),
                module.k_proj.register_forward_hook(partial(keep, name="k", outputs=outputs)),
                module.register_forward_hook(partial(compute, outputs=outputs)),
            ]
    try:
        yield logits
    finally:
        for hook in hooks:
            hook.remove()


def describe(attention: TokenAttention) -> dict[str, Any]:
    """Return the chunks, layers and heads that can be selected."""
    layers, heads = attention.chunks[0].shape[:2]
    return {
        "encoder": attention.encoder,
        "chunks": [[{"kind": kind, "text": text} for kind, text in labels] for labels in attention.labels],
        "layers": layers,
        "heads": heads,
        "causal": attention.is_causal,
        "unmasked": bool(attention.unmasked),
        "left_out": attention.left_out,
        "vectors": token_vectors.describe(attention.vectors),
    }


def attention_matrix(
    attention: TokenAttention,
    chunk: int,
    layer: int | None,
    head: int | None,
    *,
    is_masked: bool = True,
) -> list[list[float]]:
    """Return the attention of every token (row) to every token (column), 0 to 1.

    Args:
        attention: the captured attention.
        chunk: the index of the chunk.
        layer: the index of the layer; the mean over all when None.
        head: the index of the head; the mean over all when None.
        is_masked: whether the causal mask is on.

    Raises:
        IndexError: there is no such chunk, layer or head, or no attention without the mask.
    """
    chunks = attention.chunks if is_masked else attention.unmasked
    if not 0 <= chunk < len(chunks):
        raise IndexError("chunk")
    values = chunks[chunk].float()
    for axis, index in ((1, head), (0, layer)):
        if index is None:
            values = values.mean(axis, keepdim=True)
        elif not 0 <= index < values.shape[axis]:
            raise IndexError("layer or head")
        else:
            values = values.narrow(axis, index, 1)
    return [[float(f"{value:.3g}") for value in row] for row in values[0, 0].tolist()]
