"""Attention rollout of text encoders: the words that each row of a prompt's embeddings holds.

A text encoder mixes the tokens of a prompt before the denoiser receives them: in "um gato vermelho", the row
of "vermelho" holds a part of "gato", and so do the rows of the end and the padding. The rollout (Abnar and
Zuidema, 2020) estimates the parts from the softmaxes of the encoder's layers,

    R = Π_l (½·A_l + ½·I)

with A_l the mean over the heads of layer l, and ½·I for its residual connection. Special tokens, which get
much attention and have no content, are left out as keys: their columns of A_l are 0, and every row is divided
by its sum. A row without any attention to text keeps its token, so every row of R sums to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from promptweight.conditioning.compel_blend import has_blend
from promptweight.conditioning.family_lookup import find_family
from promptweight.conditioning.lora_scale import scale_text_loras
from promptweight.conditioning.pipeline_encoders import get_text_encoders
from promptweight.conditioning.text_attention import record_softmaxes
from promptweight.errors import ModelError, SettingError
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.conditioning.prompt_embeds import EncodingSettings, Role
    from promptweight.conditioning.text_encoder import TextEncoder
    from promptweight.conditioning.token_table import TokenTable
    from promptweight.protocols import Pipeline


@torch.no_grad()
def trace_rows(
    pipe: Pipeline,
    encoders: Sequence[str],
    table: TokenTable,
    settings: EncodingSettings,
    role: Role = "positive",
) -> Tensor:
    """Return the part of every token in every row of a prompt's embeddings, (rows, rows) float32.

    Every text encoder runs once more, with its weights as in `encode_prompts`: those that act inside CLIP
    count, those that act on the embeddings do not. Layers that `clip_skip` or the family leaves out do not
    count. The embeddings of several encoders that share the rows have the mean of their rollouts.

    Args:
        pipe: the pipeline that encoded the prompt.
        encoders: the names of the text encoders of the rows, as in `EncoderSection.encoders`.
        table: the token table of the prompt for the first of them.
        settings: the settings of the encoding.
        role: the role of the prompt; negative prompts have no `clip_skip`.

    Raises:
        ModelError: the pipeline has none of these text encoders, or one of an unknown class.
        SettingError: the prompt blends several texts, or the encoders tokenize it differently.
    """
    if has_blend(table):
        raise SettingError(message("text-attention-blend", prompt=table.prompt.source))
    present = {kind.name: each for kind, each in get_text_encoders(pipe, find_family(pipe)).items()}
    if missing := [name for name in encoders if name not in present]:
        raise ModelError(message("trace-without-encoder", name=type(pipe).__name__, encoder=missing[0]))
    clip_skip = settings.clip_skip if role == "positive" else None
    kinds = [token.kind for token in table.tokens]
    rollouts = []
    for name in encoders:
        own = table if name == table.encoder else present[name].tokenize(table.prompt).pad(table.chunks)
        if [token.kind for token in own.tokens] != kinds:
            raise SettingError(message("trace-tokens-differ", first=table.encoder, second=name))
        with scale_text_loras([present[name]], settings.lora_scale):
            rollouts.append(_RolloutEncoder(present[name], settings, clip_skip).roll_out_table(own))
    return torch.stack(rollouts).mean(0)


@dataclass(frozen=True)
class _RolloutEncoder:
    """A text encoder, and the rollouts of the chunks that it has encoded; it runs once for equal ones."""

    encoder: TextEncoder
    settings: EncodingSettings
    clip_skip: int | None
    known: dict[tuple[object, ...], Tensor] = field(default_factory=dict)

    def roll_out_table(self, table: TokenTable) -> Tensor:
        """Return the rollout of a table, whose parts and chunks are encoded separately, (rows, rows)."""
        if table.parts:
            blocks = [self.roll_out_table(part) for (part,) in table.parts]
        else:
            weighting = self.settings.for_encoder(self.encoder.kind, table.prompt.dialect)
            weights = weighting.weigh_rows(table).clip_weights
            blocks = [self.roll_out_chunk(table, chunk, weights) for chunk in range(table.chunks)]
        missing = table.rows - sum(map(len, blocks))  # empty chunks that a table of parts got from `pad`
        return torch.block_diag(*blocks, torch.eye(missing, dtype=torch.float32))

    def roll_out_chunk(self, table: TokenTable, chunk: int, weights: Tensor) -> Tensor:
        """Return the rollout of a chunk, (tokens, tokens); a chunk without text keeps its tokens."""
        rows = slice(chunk * table.layout.length, (chunk + 1) * table.layout.length)
        is_text = [token.kind == "text" for token in table.tokens[rows]]
        if not any(is_text):
            return torch.eye(len(is_text), dtype=torch.float32)
        key = (tuple(table.ids[chunk]), tuple(weights[rows].tolist()))
        if key not in self.known:
            run = partial(self.encoder.encode_chunk, table, chunk, clip_weights=weights)
            softmaxes = record_softmaxes(self.encoder.model, run, lambda of_heads: of_heads.mean(0))
            layers = self.count_layers(len(softmaxes))
            self.known[key] = roll_out(softmaxes[:layers], torch.tensor(is_text))
        return self.known[key]

    def count_layers(self, layers: int) -> int:
        """Return the number of layers before the encoder's output."""
        kind = self.encoder.kind
        skipped = self.clip_skip or 0 if kind.supports_clip_skip else 0
        return layers - skipped - (kind.layer == "penultimate")


@torch.autocast("cpu", enabled=False)
def roll_out(softmaxes: Tensor, is_text: Tensor) -> Tensor:
    """Compute the rollout of the layers of one text encoder, (tokens, tokens).

    Args:
        softmaxes: the attention of each token (row) to each token (column), mean over the heads, (layers,
            tokens, tokens).
        is_text: whether each token is one of the text, (tokens,).
    """
    identity = torch.eye(len(is_text), dtype=softmaxes.dtype)
    rollout = identity
    for softmax in softmaxes:
        to_text = softmax * is_text
        total = to_text.sum(-1, keepdim=True)
        attention = torch.where(total > 0, to_text / total, identity)
        rollout = (attention + identity) / 2 @ rollout
    return rollout
