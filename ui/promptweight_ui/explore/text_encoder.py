"""What the words of a prompt read in each other inside a text encoder, as the Explore tab shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

MOST_CHARACTERS = 1500
"""Of a prompt: the attention of all layers and heads lies in memory at once."""

MOST_TOKENS = 80
"""Tokens of one chunk that are shown, beginning and end among them."""


@dataclass(frozen=True)
class ReadText:
    """The self-attention of one encoder over the tokens that are no padding.

    Attributes:
        encoder: its name.
        labels: for each chunk the tokens: (kind, text).
        chunks: for each chunk (layers, heads, tokens, tokens) float16.
        left_out: how many tokens there was no room for.
    """

    encoder: str
    labels: tuple[tuple[tuple[str, str], ...], ...]
    chunks: tuple[Tensor, ...]
    left_out: int

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return sum(chunk.nbytes for chunk in self.chunks)


def encoders_of(pipe: Any) -> list[str]:
    """Return the names of a pipeline's text encoders."""
    from promptweight.conditioning import find_family, get_text_encoders

    return [kind.name for kind in get_text_encoders(pipe, find_family(pipe))]


def read_text(pipe: Any, prompt: str, encoder: str) -> ReadText:
    """Return what an encoder's tokens read in each other while it reads `prompt`."""
    from promptweight.conditioning import record_text_attention

    read = record_text_attention(pipe, prompt, encoder=encoder)
    text, size = read.table.prompt.text, read.probabilities.shape[-1]
    labels, chunks, left_out = [], [], 0
    for number, probabilities in enumerate(read.probabilities):
        tokens = [token for token in read.table.tokens if token.chunk == number and token.kind != "pad"]
        left_out += len(tokens[MOST_TOKENS:])
        tokens = tokens[:MOST_TOKENS]
        places = [token.position - number * size for token in tokens]
        labels.append(
            tuple(
                (token.kind, _sayable(text[token.start : token.end]) if token.kind == "text" else "")
                for token in tokens
            )
        )
        chunks.append(probabilities[:, :, places][:, :, :, places].half())
    return ReadText(read.encoder, tuple(labels), tuple(chunks), left_out)


def about(read: ReadText) -> dict[str, Any]:
    """Return what can be chosen: chunks, layers and heads."""
    layers, heads = read.chunks[0].shape[:2]
    return {
        "encoder": read.encoder,
        "chunks": [[{"kind": kind, "text": text} for kind, text in labels] for labels in read.labels],
        "layers": layers,
        "heads": heads,
        "causal": all(float(chunk.float().triu(1).amax()) == 0 for chunk in read.chunks),
        "left_out": read.left_out,
    }


def look(read: ReadText, chunk: int, layer: int | None, head: int | None) -> list[list[float]]:
    """Return what every token, in rows, reads of each, in columns, 0 to 1.

    Args:
        read: what was read.
        chunk: which chunk of the prompt.
        layer: which layer; the mean over all when None.
        head: which head; the mean over all when None.

    Raises:
        IndexError: there is no such chunk, layer or head.
    """
    if not 0 <= chunk < len(read.chunks):
        raise IndexError("chunk")
    values = read.chunks[chunk].float()
    for axis, index in ((1, head), (0, layer)):
        if index is None:
            values = values.mean(axis, keepdim=True)
        elif not 0 <= index < values.shape[axis]:
            raise IndexError("layer or head")
        else:
            values = values.narrow(axis, index, 1)
    return [[float(f"{value:.3g}") for value in row] for row in values[0, 0].tolist()]


def _sayable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
