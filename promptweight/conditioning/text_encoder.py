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

from promptweight.conditioning.chunking import ChunkLayout, read_chunk_layout
from promptweight.conditioning.clip_bias import apply_clip_bias
from promptweight.conditioning.compel_blend import join_embeddings, join_pooled
from promptweight.conditioning.token_table import TokenTable
from promptweight.conditioning.tokenization import tokenize
from promptweight.errors import ModelError, SettingError
from promptweight.messages import Message
from promptweight.weighting import Method, Normalizer

if TYPE_CHECKING:
    from promptweight.prompt import Prompt

ATTENTION_MODES = frozenset({"logit", "p2p", "value"})
"""A word may ask for its weight to act in attention; the embeddings then leave it alone."""

EncoderMode = Literal["embedding", "clip"]
"""Where a weight acts on the way to the embeddings: on what a text encoder gives, or inside a CLIP one."""

_NEUTRAL = "+"  # what ADV_CLIP_emb puts in the place of a hidden word


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """What a family of models says about one of its text encoders.

    `tokenizer` and `model` are attributes of the pipeline. `layer` is the output that the denoiser reads: the
    normalized last one, or the hidden states before the last layer. `method` weighs it unless the user asks
    for another. `chunked` encoders read long prompts in chunks, the others one chunk: of
    `max_sequence_length` if `takes_length`, or of the tokenizer's length. `skips_layers` tells whether
    clip_skip means anything to it, `masks_padding` whether its pipelines heed `use_attention_mask` in its
    configuration, `is_clip` whether weights can act inside it.
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
    is_clip: bool = True


@dataclass(frozen=True)
class EncoderOutput:
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
    _read: dict[Any, EncoderOutput] = field(default_factory=dict, repr=False)

    @property
    def frame(self) -> ChunkLayout:
        """What the tokenizer puts round a chunk."""
        return read_chunk_layout(self.tokenizer, self.max_length)

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
        warn: Callable[[Message], None],
        mode: EncoderMode = "embedding",
    ) -> Tensor:
        """The weighted embeddings of a prompt, (chunks x tokens, dim); plain ones where all weights are 1.

        `mode` is where weights act whose words do not say it themselves.
        """
        if table.parts:
            empty = self.read_empty(clip_skip).rows
            return join_embeddings(
                table, lambda part: self.embed(part, method, normalizer, clip_skip, warn, mode), empty
            )
        rows = _Rows.of(table, normalizer, mode)

        def encode(hidden: Tensor) -> Tensor:
            masks = hidden.cpu().reshape(table.chunks, -1).tolist()
            return torch.cat(
                [
                    self.read(table, chunk, clip_skip, hidden=mask, how=method.hides, inside=rows.inside).rows
                    for chunk, mask in enumerate(masks)
                ]
            )

        plain = encode(torch.zeros(table.rows, dtype=torch.bool))
        if bool((rows.weights == 1).all()):
            return plain

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

    def pool(
        self,
        table: TokenTable,
        normalizer: Normalizer,
        *,
        weighted: bool,
        mode: EncoderMode = "embedding",
    ) -> Tensor:
        """The pooled vector (dim) of a prompt's first chunk.

        `weighted` adds (w − 1)·(p − p without the segment) to the plain vector p for each weighted segment;
        weights inside the encoder act on p itself.
        """
        if table.parts:
            return join_pooled(table, lambda part: self.pool(part, normalizer, weighted=weighted, mode=mode))
        rows = _Rows.of(table, normalizer, mode)
        inside = rows.inside if weighted else None
        plain = self.read(table, 0, inside=inside).pooled
        if plain is None:
            raise ModelError(f"The text encoder {self.kind.name} gives no pooled vector.")
        if not weighted:
            return plain
        first = slice(0, table.frame.length)
        pooled = plain.float()
        for segment in rows.segments[first][rows.weights[first] != 1].unique():
            hidden = rows.segments[first] == segment
            without = self.read(table, 0, hidden=hidden.tolist(), how="attention", inside=inside).pooled
            assert without is not None
            weight = float(rows.weights[first][hidden][0])
            pooled = pooled + (weight - 1) * (plain.float() - without.float())
        return pooled.to(plain.dtype)

    def read_empty(self, clip_skip: int | None = None) -> EncoderOutput:
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
        inside: Tensor | None = None,
    ) -> EncoderOutput:
        """What the encoder makes of one chunk, with tokens hidden in the way that `Method.hides` names.

        `inside` holds the weights that act in its own attention, one for each row of the table.
        """
        rows = slice(chunk * table.frame.length, (chunk + 1) * table.frame.length)
        tokens = table.tokens[rows]
        ids = [token.id for token in tokens]
        attended = [token.kind != "pad" for token in tokens]
        weights = None if inside is None or not self.kind.is_clip else inside[rows].tolist()
        if not any(hidden):
            return self._run(ids, attended, clip_skip, weights=weights)
        if how == "token":
            neutral = self.tokenizer(_NEUTRAL, add_special_tokens=False).input_ids[-1]
            ids = [neutral if hide else token_id for token_id, hide in zip(ids, hidden, strict=True)]
            return self._run(ids, attended, clip_skip, weights=weights)
        shown = [not hide for hide in hidden]
        return self._run(ids, attended, clip_skip, shown, weights)

    def _run(
        self,
        ids: Sequence[int],
        attended: Sequence[bool],
        clip_skip: int | None,
        shown: Sequence[bool] | None = None,
        weights: Sequence[float] | None = None,
    ) -> EncoderOutput:
        if weights is not None and all(weight == 1 for weight in weights):
            weights = None  # read as by the pipeline itself, to the last bit
        if not self.kind.skips_layers:
            clip_skip = None
        if self.kind.masks_padding and getattr(self.model.config, "use_attention_mask", False):
            shown = [a and (shown is None or shown[row]) for row, a in enumerate(attended)]
        key = (
            tuple(ids),
            None if shown is None else tuple(shown),
            clip_skip,
            None if weights is None else tuple(weights),
        )
        if key not in self._read:
            if weights is None:
                mask = None if shown is None else torch.tensor([shown], device=self.device).long()
                self._read[key] = self._forward(ids, mask, clip_skip)
            else:
                with apply_clip_bias(self.model, weights, shown) as bias:
                    self._read[key] = self._forward(ids, bias.to(self.device), clip_skip)
        return self._read[key]

    def _forward(self, ids: Sequence[int], mask: Tensor | None, clip_skip: int | None) -> EncoderOutput:
        inner = self.kind.layer == "penultimate" or clip_skip is not None
        options = {"output_hidden_states": True} if inner else {}
        output = self.model(torch.tensor([list(ids)], device=self.device), attention_mask=mask, **options)
        rows = self._inner_rows(output.hidden_states, clip_skip or 0) if inner else output[0]
        pooled = getattr(output, "text_embeds", None)
        if pooled is None:
            pooled = getattr(output, "pooler_output", None)
        dtype = self.model.dtype
        return EncoderOutput(rows[0].to(dtype), None if pooled is None else pooled[0].to(dtype))

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
class _Rows:
    """A token table as the weighting methods read it: tensors over its rows.

    `weights` act on the embeddings, `inside` in the encoder's own attention; where a word acts in the one way
    its weight in the other is 1, and both are 1 where it acts in the denoiser's attention.
    """

    weights: Tensor
    inside: Tensor
    segments: Tensor
    is_text: Tensor
    is_padding: Tensor

    @classmethod
    def of(cls, table: TokenTable, normalizer: Normalizer, mode: EncoderMode) -> _Rows:
        spans = table.prompt.spans
        modes = [(token.span >= 0 and spans[token.span].options.mode) or mode for token in table.tokens]
        asked = [
            1.0 if each in ATTENTION_MODES else token.weight
            for each, token in zip(modes, table.tokens, strict=True)
        ]
        is_text = torch.tensor([token.kind == "text" for token in table.tokens])
        segments = torch.tensor([token.span for token in table.tokens])
        weights = normalizer(torch.tensor(asked), is_text=is_text, segments=segments)
        acts_inside = torch.tensor([each == "clip" for each in modes])
        return cls(
            weights.masked_fill(acts_inside, 1.0),
            weights.masked_fill(~acts_inside, 1.0),
            segments,
            is_text,
            torch.tensor([token.kind == "pad" for token in table.tokens]),
        )
