"""Self-attention of a text encoder for the Explore tab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight_ui.i18n import encodable

if TYPE_CHECKING:
    from torch import Tensor

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
    """

    encoder: str
    labels: tuple[tuple[tuple[str, str], ...], ...]
    chunks: tuple[Tensor, ...]
    left_out: int

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(chunk.nbytes for chunk in self.chunks)


def encoder_names(pipe: Any) -> list[str]:
    """Return the names of a pipeline's text encoders."""
    from promptweight.conditioning import find_family, get_text_encoders

    return [kind.name for kind in get_text_encoders(pipe, find_family(pipe))]


def capture_text_attention(pipe: Any, prompt: str, encoder: str) -> TokenAttention:
    """Return the self-attention of one text encoder for a prompt."""
    from promptweight.conditioning import record_text_attention

    recorded = record_text_attention(pipe, prompt, encoder=encoder)
    table = recorded.table
    text, size = table.prompt.text, recorded.probabilities.shape[-1]
    labels, chunks, left_out = [], [], 0
    for number, probabilities in enumerate(recorded.probabilities):
        tokens = [token for token in table.tokens if token.chunk == number and token.kind != "pad"]
        left_out += len(tokens[MAX_TOKENS:])
        tokens = tokens[:MAX_TOKENS]
        rows = [token.position - number * size for token in tokens]
        labels.append(
            tuple(
                (token.kind, encodable(text[token.start : token.end]) if token.kind == "text" else "")
                for token in tokens
            )
        )
        chunks.append(probabilities[:, :, rows][:, :, :, rows].half())
    return TokenAttention(recorded.encoder, tuple(labels), tuple(chunks), left_out)


def describe(attention: TokenAttention) -> dict[str, Any]:
    """Return the chunks, layers and heads that can be selected."""
    layers, heads = attention.chunks[0].shape[:2]
    return {
        "encoder": attention.encoder,
        "chunks": [[{"kind": kind, "text": text} for kind, text in labels] for labels in attention.labels],
        "layers": layers,
        "heads": heads,
        "causal": all(float(chunk.float().triu(1).amax()) == 0 for chunk in attention.chunks),
        "left_out": attention.left_out,
    }


def attention_matrix(
    attention: TokenAttention, chunk: int, layer: int | None, head: int | None
) -> list[list[float]]:
    """Return the attention of every token (row) to every token (column), 0 to 1.

    Args:
        attention: the captured attention.
        chunk: the index of the chunk.
        layer: the index of the layer; the mean over all when None.
        head: the index of the head; the mean over all when None.

    Raises:
        IndexError: there is no such chunk, layer or head.
    """
    if not 0 <= chunk < len(attention.chunks):
        raise IndexError("chunk")
    values = attention.chunks[chunk].float()
    for axis, index in ((1, head), (0, layer)):
        if index is None:
            values = values.mean(axis, keepdim=True)
        elif not 0 <= index < values.shape[axis]:
            raise IndexError("layer or head")
        else:
            values = values.narrow(axis, index, 1)
    return [[float(f"{value:.3g}") for value in row] for row in values[0, 0].tolist()]
