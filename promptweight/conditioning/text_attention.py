"""Self-attention inside a text encoder: the attention that each word of a prompt pays to each other word.

    attention = record_text_attention(pipe, "um gato vermelho")
    attention.words(layers=[11])        # the attention of every word to every word in the last layer

A color is bound to a noun, or to the wrong noun, here, before the denoiser. A CLIP text encoder is causal: a
word attends to itself and to the words before it, so the last word of a phrase holds its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.conditioning.compel_blend import has_blend
from promptweight.conditioning.family_lookup import find_family
from promptweight.conditioning.pipeline_encoders import get_text_encoders
from promptweight.errors import ModelError, SettingError
from promptweight.messages import message
from promptweight.prompt import as_prompt
from promptweight.validation import check_choice

if TYPE_CHECKING:
    from promptweight.conditioning.token_table import TokenTable
    from promptweight.prompt import Prompt
    from promptweight.protocols import Pipeline

ATTENTION_CLASSES = ("CLIPAttention", "T5Attention")
"""Classes of self-attention layers in the text encoders of transformers."""


@dataclass(frozen=True)
class TextAttention:
    """The self-attention of one text encoder for one prompt.

    Attributes:
        encoder: the name of the text encoder, such as "clip" or "t5".
        table: the token table of the prompt.
        probabilities: the attention of each token (row) to each token (column), float32 of shape (chunks,
            layers, heads, tokens, tokens).
    """

    encoder: str
    table: TokenTable
    probabilities: Tensor

    def tokens(self, layers: Sequence[int] = (), heads: Sequence[int] = ()) -> Tensor:
        """Return the mean over the given layers and heads, or all, (rows, rows) of the token table.

        Each row sums to 1. The encoder encodes chunks separately, so the attention between chunks is 0.

        Raises:
            SettingError: there is no such layer or head.
        """
        _, n_layers, n_heads, _, _ = self.probabilities.shape
        selected = self.probabilities[:, list(_resolve_indices("layer", layers, n_layers))]
        selected = selected[:, :, list(_resolve_indices("head", heads, n_heads))]
        return torch.block_diag(*selected.mean((1, 2)))

    def words(self, layers: Sequence[int] = (), heads: Sequence[int] = ()) -> Tensor:
        """Return the attention of each word (row) to each word (column), (words, words), 0 to 1.

        It is the mean over the tokens of the word in the row and the sum over the tokens of the word in the
        column. The remainder of each row goes to the beginning token, which often gets most, the end token
        and padding.
        """
        membership = torch.zeros(len(self.table.words), self.table.rows, dtype=torch.float32)
        for number, word in enumerate(self.table.words):
            membership[number, list(word.positions)] = 1
        return (membership / membership.sum(1, keepdim=True)) @ self.tokens(layers, heads) @ membership.T


def _resolve_indices(name: str, indices: Sequence[int], number: int) -> Sequence[int]:
    """Return the indices, or all of `number` where there are none; negative ones count from the last.

    Raises:
        SettingError: an index is out of range.
    """
    for index in indices:
        if not -number <= index < number:
            raise SettingError(message("text-attention-index", name=name, highest=number - 1, index=index))
    return indices or range(number)


@torch.no_grad()
def record_text_attention(
    pipe: Pipeline,
    prompt: str | Prompt,
    *,
    encoder: str | None = None,
    dialect: str = "pw",
    weighted: bool = False,
) -> TextAttention:
    """Record the self-attention of a text encoder for a prompt, in all layers and heads.

    The encoder runs as in `encode_prompts` with every weight 1, but with the eager attention implementation,
    since fused kernels return no softmax. Its own implementation is restored afterwards.

    Args:
        pipe: a pipeline of a supported family.
        prompt: the prompt, as text or parsed.
        encoder: the name of the text encoder ("clip", "clip_l", "clip_g", "t5"); None is the family's first.
        dialect: the dialect of a prompt given as text.
        weighted: whether the prompt's weights act inside a CLIP text encoder, as with `clip-attention`.

    Raises:
        ModelError: the pipeline is of no supported family, or its encoder is of no known class.
        SettingError: there is no encoder of this name, or the prompt blends several texts.
    """
    encoders = {kind.name: each for kind, each in get_text_encoders(pipe, find_family(pipe)).items()}
    if not encoders:
        raise ModelError(message("text-encoders-absent", pipeline=type(pipe).__name__))
    if encoder is not None:
        check_choice("encoder", encoder, tuple(encoders))
    name = encoder or next(iter(encoders))
    text_encoder = encoders[name]
    table = text_encoder.tokenize(as_prompt(prompt, dialect))
    if has_blend(table):
        raise SettingError(message("text-attention-blend", prompt=table.prompt.source))
    weights = torch.tensor(table.weights if weighted else [1.0] * table.rows, dtype=torch.float32)
    recorded: dict[tuple[tuple[int, ...], tuple[float, ...]], Tensor] = {}
    chunks = []
    for chunk, (ids, of_chunk) in enumerate(zip(table.ids, weights.chunk(table.chunks), strict=True)):
        key = (tuple(ids), tuple(of_chunk.tolist()))
        if key not in recorded:  # the encoder runs its model once for equal chunks
            recorded[key] = record_softmaxes(
                text_encoder.model, partial(text_encoder.encode_chunk, table, chunk, clip_weights=weights)
            )
        chunks.append(recorded[key])
    return TextAttention(name, table, torch.stack(chunks))


def record_softmaxes(
    model: Any, run: Callable[[], object], reduce: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Record the softmax of every layer of a text encoder during `run`, float32 on the CPU.

    Args:
        model: the text encoder.
        run: calls the encoder for one text.
        reduce: a function of each softmax (heads, tokens, tokens), on the device of the encoder; a large one
            has gigabytes of them otherwise. None keeps them.

    Returns:
        The softmaxes, (layers, heads, tokens, tokens), or what `reduce` returns of each layer.

    Raises:
        ModelError: the attention layers of the encoder are of no known class.
    """
    modules = [module for module in model.modules() if type(module).__name__ in ATTENTION_CLASSES]
    if not modules:
        raise ModelError(message("text-attention-unsupported", name=type(model).__name__))
    softmaxes: list[Tensor] = []

    def record(_module: Any, _inputs: Any, output: tuple[Tensor, ...]) -> None:
        softmax = output[-1][0].float()
        softmaxes.append((softmax if reduce is None else reduce(softmax)).cpu())

    implementation = model.config._attn_implementation
    hooks = [module.register_forward_hook(record) for module in modules]
    try:
        model.set_attn_implementation("eager")
        run()
    finally:
        model.set_attn_implementation(implementation)
        for hook in hooks:
            hook.remove()
    return torch.stack(softmaxes)
