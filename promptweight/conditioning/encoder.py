"""One text encoder of a pipeline: token tables of prompts, and their embeddings under weights.

Every chunk of every prompt goes through the model by itself, in a batch of one, as a pipeline does for one
prompt. So a prompt's embeddings are the same bits whatever is encoded with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from promptweight.conditioning.pieces import Frame, frame_of
from promptweight.conditioning.tokens import TokenTable, tokenize
from promptweight.errors import ModelError, SettingError
from promptweight.weighting import Method, Normalizer

if TYPE_CHECKING:
    from promptweight.prompt import Prompt

ATTENTION_MODES = frozenset({"logit", "p2p", "value"})
"""A word may ask for its weight to act in attention; the embeddings then leave it alone."""

_NEUTRAL = "+"  # what ADV_CLIP_emb puts in the place of a hidden word


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """What a family of models says about one of its text encoders.

    `tokenizer` and `model` are attributes of the pipeline. `layer` is the output that the denoiser reads: the
    normalised last one, or the hidden states before the last layer. `method` weighs it unless the user asks
    for another. `chunked` encoders read long prompts in chunks, the others one chunk: of
    `max_sequence_length` if `takes_length`, or of the tokenizer's length. `skips_layers` tells whether
    clip_skip means anything to it, `masks_padding` whether its pipelines heed `use_attention_mask` in its
    configuration.
    """

    name: str
    tokenizer: str
    model: str
    layer: Literal["last", "penultimate"]
    method: str
    chunked: bool = True
    takes_length: bool = False
    skips_layers: bool = True
    masks_padding: bool = False


@dataclass(frozen=True)
class Reading:
    """What a text encoder made of one chunk: rows for the denoiser (tokens, dim), the pooled vector (dim)."""

    rows: Tensor
    pooled: Tensor | None


@dataclass
class TextEncoder:
    """A text encoder at work for one call of `encode_prompts`; remembers the chunks that it has read."""

    kind: EncoderKind
    tokenizer: Any
    model: Any
    device: torch.device
    max_length: int | None = None
    _read: dict[Any, Reading] = field(default_factory=dict, repr=False)

    @property
    def frame(self) -> Frame:
        """What the tokenizer puts round a chunk."""
        return frame_of(self.tokenizer, self.max_length)

    def tokenize(self, prompt: Prompt) -> TokenTable:
        """The token table of one prompt."""
        return tokenize(
            self.tokenizer,
            prompt,
            encoder=self.kind.name,
            max_length=self.max_length,
            max_chunks=None if self.kind.chunked else 1,
        )

    def embed(
        self,
        table: TokenTable,
        method: Method,
        normalizer: Normalizer,
        clip_skip: int | None,
        warn: Callable[[str], None],
    ) -> Tensor:
        """The weighted embeddings of a prompt, (chunks x tokens, dim); plain ones where all weights are 1."""
        plain = torch.cat([self.read(table, chunk, clip_skip).rows for chunk in range(table.chunks)])
        rows = _Rows.of(table, normalizer)
        if bool((rows.weights == 1).all()):
            return plain

        def encode(hidden: Tensor) -> Tensor:
            masks = hidden.cpu().reshape(table.chunks, -1).tolist()
            return torch.cat(
                [
                    self.read(table, chunk, clip_skip, hidden=mask, how=method.hides).rows
                    for chunk, mask in enumerate(masks)
                ]
            )

        return method(
            plain,
            rows.weights.to(plain.device),
            self.read_empty(clip_skip).rows,
            encode=encode,
            segments=rows.segments.to(plain.device),
            is_text=rows.is_text.to(plain.device),
            is_padding=rows.is_padding.to(plain.device),
            chunk_rows=table.frame.length,
            warn=warn,
        )

    def pool(self, table: TokenTable, normalizer: Normalizer, *, weighted: bool) -> Tensor:
        """The pooled vector (dim) of a prompt's first chunk.

        `weighted` adds (w − 1)·(p − p without the segment) to the plain vector p for each weighted segment.
        """
        plain = self.read(table, 0).pooled
        if plain is None:
            raise ModelError(f"The text encoder {self.kind.name} gives no pooled vector.")
        if not weighted:
            return plain
        rows = _Rows.of(table, normalizer)
        first = slice(0, table.frame.length)
        pooled = plain.float()
        for segment in rows.segments[first][rows.weights[first] != 1].unique():
            hidden = rows.segments[first] == segment
            without = self.read(table, 0, hidden=hidden.tolist(), how="attention").pooled
            assert without is not None
            weight = float(rows.weights[first][hidden][0])
            pooled = pooled + (weight - 1) * (plain.float() - without.float())
        return pooled.to(plain.dtype)

    def read_empty(self, clip_skip: int | None = None) -> Reading:
        """What the encoder makes of a chunk without text."""
        frame = self.frame
        ids = [special.id for special in (*frame.before, *frame.after)]
        padding = frame.length - len(ids)
        return self._run([*ids, *[frame.pad.id] * padding], [True] * len(ids) + [False] * padding, clip_skip)

    def read(
        self,
        table: TokenTable,
        chunk: int,
        clip_skip: int | None = None,
        *,
        hidden: Sequence[bool] = (),
        how: Literal["", "attention", "token"] = "",
    ) -> Reading:
        """What the encoder makes of one chunk, with tokens hidden in the way that `Method.hides` names."""
        start = chunk * table.frame.length
        tokens = table.tokens[start : start + table.frame.length]
        ids = [token.id for token in tokens]
        attended = [token.kind != "pad" for token in tokens]
        if not any(hidden):
            return self._run(ids, attended, clip_skip)
        if how == "token":
            neutral = self.tokenizer(_NEUTRAL, add_special_tokens=False).input_ids[-1]
            ids = [neutral if hide else token_id for token_id, hide in zip(ids, hidden, strict=True)]
            return self._run(ids, attended, clip_skip)
        shown = [not hide for hide in hidden]
        return self._run(ids, attended, clip_skip, shown)

    def _run(
        self,
        ids: Sequence[int],
        attended: Sequence[bool],
        clip_skip: int | None,
        shown: Sequence[bool] | None = None,
    ) -> Reading:
        if not self.kind.skips_layers:
            clip_skip = None
        if self.kind.masks_padding and getattr(self.model.config, "use_attention_mask", False):
            shown = [a and (shown is None or shown[row]) for row, a in enumerate(attended)]
        key = (tuple(ids), None if shown is None else tuple(shown), clip_skip)
        if key not in self._read:
            self._read[key] = self._forward(ids, shown, clip_skip)
        return self._read[key]

    def _forward(self, ids: Sequence[int], shown: Sequence[bool] | None, clip_skip: int | None) -> Reading:
        mask = None if shown is None else torch.tensor([shown], device=self.device).long()
        inner = self.kind.layer == "penultimate" or clip_skip is not None
        options = {"output_hidden_states": True} if inner else {}
        output = self.model(torch.tensor([list(ids)], device=self.device), attention_mask=mask, **options)
        rows = self._inner_rows(output.hidden_states, clip_skip or 0) if inner else output[0]
        pooled = getattr(output, "text_embeds", None)
        if pooled is None:
            pooled = getattr(output, "pooler_output", None)
        dtype = self.model.dtype
        return Reading(rows[0].to(dtype), None if pooled is None else pooled[0].to(dtype))

    def _inner_rows(self, states: Sequence[Tensor], clip_skip: int) -> Tensor:
        """The hidden states `clip_skip` layers before those that the denoiser usually reads."""
        usual = 2 if self.kind.layer == "penultimate" else 1
        if usual + clip_skip > len(states):
            most = len(states) - usual
            raise SettingError(
                f"clip_skip is {clip_skip}; the text encoder {self.kind.name} allows 0 to {most}."
            )
        rows = states[-usual - clip_skip]
        if self.kind.layer == "penultimate":
            return rows
        # CLIPTextModel has held its layers itself since transformers 5.6, in `text_model` before.
        return getattr(self.model, "text_model", self.model).final_layer_norm(rows)


@dataclass(frozen=True)
class Absent:
    """The zeros that stand for a text encoder which the pipeline was loaded without."""

    rows: int
    channels: int
    pooled_channels: int
    device: torch.device
    dtype: torch.dtype

    def zeros(self, *shape: int) -> Tensor:
        """Zeros of this shape where the other encoders' output is."""
        return torch.zeros(shape, device=self.device, dtype=self.dtype)


def embedding_weights(table: TokenTable) -> list[float]:
    """The weight of each row for the embeddings: 1 where a word asks for its weight to act in attention."""
    spans = table.prompt.spans
    return [
        1.0 if token.span >= 0 and spans[token.span].options.mode in ATTENTION_MODES else token.weight
        for token in table.tokens
    ]


@dataclass(frozen=True)
class _Rows:
    """A token table as the weighting methods read it: tensors over its rows."""

    weights: Tensor
    segments: Tensor
    is_text: Tensor
    is_padding: Tensor

    @classmethod
    def of(cls, table: TokenTable, normalizer: Normalizer) -> _Rows:
        is_text = torch.tensor([token.kind == "text" for token in table.tokens])
        segments = torch.tensor([token.span for token in table.tokens])
        weights = normalizer(torch.tensor(embedding_weights(table)), is_text=is_text, segments=segments)
        return cls(weights, segments, is_text, torch.tensor([token.kind == "pad" for token in table.tokens]))
