"""What the words of a prompt read in each other: the self-attention inside a text encoder.

    attention = read_text_attention(pipe, "um gato vermelho")
    attention.words(layers=[11])        # how much of each word every word reads in the last layer

Color reaches a noun, or the wrong noun, here before the picture's model sees either. A CLIP text encoder is
causal: a word reads itself and what stands before it, so what a phrase means is gathered on its last word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.conditioning.compel_blend import has_blend
from promptweight.conditioning.families import find_family, get_text_encoders
from promptweight.errors import ModelError, SettingError
from promptweight.messages import message
from promptweight.prompt import parse

if TYPE_CHECKING:
    from promptweight.conditioning.token_table import TokenTable
    from promptweight.prompt import Prompt

ATTENTION_CLASSES = ("CLIPAttention", "T5Attention")
"""The classes, in transformers, of the layers in which a text encoder attends to its own tokens."""


@dataclass(frozen=True)
class TextAttention:
    """The self-attention of one text encoder while it read one prompt."""

    encoder: str
    """Its name, such as "clip" or "t5"."""
    table: TokenTable
    probabilities: Tensor
    """(chunks, layers, heads, tokens, tokens) float32: what a token, in rows, reads of each, in columns."""

    def tokens(self, layers: Sequence[int] = (), heads: Sequence[int] = ()) -> Tensor:
        """Mean over the layers and heads named, or all: (rows, rows) of the token table, each row sums to 1.

        Chunks are read apart, so between tokens of different chunks it is 0.

        Raises:
            SettingError: there is no such layer or head.
        """
        _, n_layers, n_heads, _, _ = self.probabilities.shape
        chosen = self.probabilities[:, list(checked("layer", layers, n_layers))]
        chosen = chosen[:, :, list(checked("head", heads, n_heads))]
        return torch.block_diag(*chosen.mean((1, 2)))

    def words(self, layers: Sequence[int] = (), heads: Sequence[int] = ()) -> Tensor:
        """How much each word of `table.words` reads, in rows, of each, in columns: (words, words), 0 to 1.

        The mean over the reading word's tokens, summed over the tokens of the word that is read. What a row
        lacks of 1 goes to the beginning, which often takes most, to the end and to padding.
        """
        belongs = torch.zeros(len(self.table.words), self.table.rows)
        for number, word in enumerate(self.table.words):
            belongs[number, list(word.positions)] = 1
        return (belongs / belongs.sum(1, keepdim=True)) @ self.tokens(layers, heads) @ belongs.T


def checked(name: str, indices: Sequence[int], number: int) -> Sequence[int]:
    """The indices, or all of `number` when there are none; negative ones count from the last.

    Raises:
        SettingError: one lies outside.
    """
    for index in indices:
        if not -number <= index < number:
            raise SettingError(f"{name} {index}; the text encoder has {name}s 0 to {number - 1}")
    return indices or range(number)


@torch.no_grad()
def record_text_attention(
    pipe: Any,
    prompt: str | Prompt,
    *,
    encoder: str | None = None,
    dialect: str = "pw",
    weighted: bool = False,
) -> TextAttention:
    """The self-attention of a text encoder, all layers and heads, as it reads a prompt.

    The encoder runs as for `conditioning.encode_prompts` with every weight 1, but with its softmax written
    out, since a fused kernel keeps none. How it computes attention is put back afterwards.

    Args:
        pipe: a pipeline of a supported family.
        prompt: the prompt, as text or parsed.
        encoder: the encoder's name ("clip", "clip_l", "clip_g", "t5"); the family's first when None.
        dialect: how a prompt given as text is read.
        weighted: whether the prompt's weights act inside a CLIP text encoder, as with `mode="clip"`.

    Raises:
        ModelError: the pipeline is of no supported family, or its encoder is of no known class.
        SettingError: it has no encoder of this name; or the prompt blends several texts.
    """
    encoders = {kind.name: each for kind, each in get_text_encoders(pipe, find_family(pipe)).items()}
    if not encoders:
        raise ModelError(f"This {type(pipe).__name__} was loaded without text encoders.")
    if encoder is not None and encoder not in encoders:
        raise SettingError(f"no text encoder is called {encoder!r}; there are: {', '.join(encoders)}")
    name = encoder or next(iter(encoders))
    reader = encoders[name]
    table = reader.tokenize(parse(prompt, dialect) if isinstance(prompt, str) else prompt)
    if has_blend(table):
        raise SettingError(
            message(
                "text-attention-blend",
                prompt=table.prompt.source,
            )
        )
    weights = torch.tensor(table.weights if weighted else [1.0] * table.rows)
    read: dict[tuple[tuple[int, ...], tuple[float, ...]], Tensor] = {}
    chunks = []
    for chunk, (ids, of_chunk) in enumerate(zip(table.ids, weights.chunk(table.chunks), strict=True)):
        key = (tuple(ids), tuple(of_chunk.tolist()))
        if key not in read:  # the reader runs its model once for equal chunks
            read[key] = softmaxes(reader.model, partial(reader.read, table, chunk, inside=weights))
        chunks.append(read[key])
    return TextAttention(name, table, torch.stack(chunks))


def softmaxes(model: Any, read: Callable[[], object]) -> Tensor:
    """The softmax of every layer of a text encoder while it reads one chunk: (layers, heads, tokens, tokens).

    Raises:
        ModelError: the encoder is of no known class.
    """
    modules = [module for module in model.modules() if type(module).__name__ in ATTENTION_CLASSES]
    if not modules:
        raise ModelError(message("text-attention-unsupported", name=type(model).__name__))
    found: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: tuple[Tensor, ...]) -> None:
        found.append(output[-1][0].float().cpu())

    usual = model.config._attn_implementation
    hooks = [module.register_forward_hook(keep) for module in modules]
    try:
        model.set_attn_implementation("eager")
        read()
    finally:
        model.set_attn_implementation(usual)
        for hook in hooks:
            hook.remove()
    return torch.stack(found)
