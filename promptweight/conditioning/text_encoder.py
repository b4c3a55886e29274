"""Text encoders of a pipeline: token tables of prompts, and their embeddings under weights.

Every chunk of every prompt passes through the model alone, in a batch of one, as in a pipeline that encodes
one prompt. The embeddings of a prompt are therefore bit for bit independent of the prompts encoded with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from promptweight.conditioning.chunking import ChunkLayout, read_chunk_layout
from promptweight.conditioning.clip_bias import apply_clip_bias
from promptweight.conditioning.compel_blend import join_embeddings, join_pooled
from promptweight.conditioning.token_table import Token, TokenTable
from promptweight.conditioning.tokenization import PromptTokenizer
from promptweight.errors import ModelError, SettingError
from promptweight.messages import Message, message
from promptweight.prompt import NO_OPTIONS, Options
from promptweight.weighting import (
    CLIP_ATTENTION,
    KEY_WEIGHTINGS,
    DefaultWeighting,
    Hiding,
    Method,
    Normalizer,
    Weighting,
    WordWeighting,
    get_normalizer,
    resolve_word_weighting,
)

_NEUTRAL_TOKEN = "+"  # replaces a hidden word, as in ADV_CLIP_emb


@dataclass(frozen=True)
class EncoderOutput:
    """The output of a text encoder for one chunk.

    Attributes:
        rows: the rows for the denoiser, (tokens, dim).
        pooled: the pooled vector, (dim); None where the encoder has none.
    """

    rows: Tensor
    pooled: Tensor | None


@dataclass(frozen=True)
class EncoderWeighting:
    """Way in which weights of prompts of one dialect act in one text encoder.

    Attributes:
        weighting: the weighting of the call, whose dial calibrates `presence`.
        method: the method on the embeddings.
        default: how words without an option of their own are weighted.
    """

    weighting: Weighting
    method: Method
    default: DefaultWeighting = "embedding"

    def weigh_rows(self, table: TokenTable) -> _WeightedRows:
        """Return the rows of a token table with the weights that the method gets."""
        rows = _WeightedRows.of(table, get_normalizer(self.weighting.normalizer), self.default)
        if self.method.name != "presence" or not self.weighting.dial:
            return rows
        turned = [self.weighting.turn_dial(weight) for weight in rows.weights.tolist()]
        return replace(rows, weights=torch.tensor(turned, dtype=torch.float32))


@dataclass
class TextEncoder(PromptTokenizer):
    """A text encoder during one call of `encode_prompts`, with a cache of the chunks that it encoded."""

    model: Any = field(kw_only=True)
    device: torch.device = field(kw_only=True)
    _outputs: dict[Any, EncoderOutput] = field(default_factory=dict, repr=False)

    @property
    def layout(self) -> ChunkLayout:
        """The special tokens and the length of a chunk."""
        return read_chunk_layout(self.tokenizer, self.max_length)

    def embed(
        self,
        table: TokenTable,
        weighting: EncoderWeighting,
        clip_skip: int | None,
        warn: Callable[[Message], None],
    ) -> Tensor:
        """Return the weighted embeddings of a prompt, (chunks × tokens, dim).

        They are the plain embeddings where all weights are 1.
        """
        if table.parts:
            empty = self.encode_empty(clip_skip).rows
            return join_embeddings(table, lambda part: self.embed(part, weighting, clip_skip, warn), empty)
        rows, method = weighting.weigh_rows(table), weighting.method

        def encode(hidden: Tensor) -> Tensor:
            masks = hidden.cpu().reshape(table.chunks, -1).tolist()
            return torch.cat(
                [
                    self.encode_chunk(
                        table,
                        chunk,
                        clip_skip,
                        hidden=mask,
                        hides=method.hides,
                        clip_weights=rows.clip_weights,
                    ).rows
                    for chunk, mask in enumerate(masks)
                ]
            )

        plain = encode(torch.zeros(table.rows, dtype=torch.bool))
        if bool((rows.weights == 1).all()):
            return plain

        return method(
            plain,
            rows.weights.to(plain.device),
            self.encode_empty(clip_skip).rows,
            encode=encode,
            segments=rows.segments.to(plain.device),
            is_text=rows.is_text.to(plain.device),
            is_padding=rows.is_padding.to(plain.device),
            chunk_rows=table.layout.length,
            warn=warn,
        )

    def pool(self, table: TokenTable, weighting: EncoderWeighting) -> Tensor:
        """Return the pooled vector (dim) of a prompt's first chunk.

        Where `method.weights_pooled`, the method applies to the plain vector p. With `pooled="weighted"` of
        the weighting, (w − 1)·(p − p without the segment) is added for each other weighted segment; weights
        inside the encoder act on p itself.

        Raises:
            ModelError: the encoder has no pooled vector.
        """
        if table.parts:
            return join_pooled(table, lambda part: self.pool(part, weighting))
        rows, method = weighting.weigh_rows(table), weighting.method
        weighted = weighting.weighting.pooled == "weighted"
        clip_weights = rows.clip_weights if weighted else None
        first = slice(0, table.layout.length)
        weights = rows.weights[first]

        def encode(hidden: Tensor, hides: Hiding) -> Tensor:
            pooled = self.encode_chunk(
                table, 0, hidden=hidden.tolist(), hides=hides, clip_weights=clip_weights
            ).pooled
            if pooled is None:
                raise ModelError(message("pooled-vector-missing", encoder=self.kind.name))
            return pooled

        plain = encode(torch.zeros_like(weights, dtype=torch.bool), "")
        if not weighted and not method.weights_pooled:
            return plain
        pooled = plain.float()
        remaining = weights != 1
        if method.weights_pooled and bool((weights < 1).any()):
            # The vector as one row for each token; the first token is special and has weight 1.
            of_rows = method(
                plain.expand(len(weights), -1),
                weights.clamp(max=1).to(plain.device),
                plain.expand(len(weights), -1),
                encode=lambda hidden: encode(hidden.cpu(), method.hides).expand(len(weights), -1),
            )
            pooled, remaining = of_rows[0].float(), weights > 1
        if weighted:
            for segment in rows.segments[first][remaining].unique():
                hidden = rows.segments[first] == segment
                change = plain.float() - encode(hidden, "attention").float()
                pooled = pooled + (float(weights[hidden][0]) - 1) * change
        return pooled.to(plain.dtype)

    def encode_empty(self, clip_skip: int | None = None) -> EncoderOutput:
        """Return the encoder's output for a chunk without text."""
        layout = self.layout
        ids = [special.id for special in (*layout.before, *layout.after)]
        padding = layout.length - len(ids)
        return self._encode_ids(
            [*ids, *[layout.pad.id] * padding], [True] * len(ids) + [False] * padding, clip_skip
        )

    def encode_chunk(
        self,
        table: TokenTable,
        chunk: int,
        clip_skip: int | None = None,
        *,
        hidden: Sequence[bool] = (),
        hides: Hiding = "",
        clip_weights: Tensor | None = None,
    ) -> EncoderOutput:
        """Return the encoder's output for one chunk.

        Args:
            table: the token table of the prompt.
            chunk: the number of the chunk.
            clip_skip: the number of last layers to skip; None is the default output.
            hidden: whether each token of the chunk is hidden; empty is none.
            hides: the way of hiding, as in `Method.hides`.
            clip_weights: weights inside a CLIP text encoder, one for each row of the table.
        """
        rows = slice(chunk * table.layout.length, (chunk + 1) * table.layout.length)
        tokens = table.tokens[rows]
        ids = [token.id for token in tokens]
        is_content = [token.kind != "pad" for token in tokens]
        weights = None if clip_weights is None or not self.kind.is_clip else clip_weights[rows].tolist()
        if not any(hidden):
            return self._encode_ids(ids, is_content, clip_skip, weights=weights)
        if hides == "removal":
            return self._encode_without(ids, is_content, hidden, clip_skip, weights)
        if hides == "token":
            neutral = self.tokenizer(_NEUTRAL_TOKEN, add_special_tokens=False).input_ids[-1]
            ids = [neutral if hide else token_id for token_id, hide in zip(ids, hidden, strict=True)]
            return self._encode_ids(ids, is_content, clip_skip, weights=weights)
        visible = [not hide for hide in hidden]
        return self._encode_ids(ids, is_content, clip_skip, visible, weights)

    def _encode_without(
        self,
        ids: Sequence[int],
        is_content: Sequence[bool],
        hidden: Sequence[bool],
        clip_skip: int | None,
        weights: Sequence[float] | None,
    ) -> EncoderOutput:
        """Encode a chunk without its hidden tokens; padding fills its end.

        The rows of the remaining tokens return to the places of these tokens, and the last rows, those of the
        additional padding, fill the places of the hidden ones.
        """
        order = sorted(range(len(ids)), key=lambda row: hidden[row])  # stable: the remaining rows come first
        kept = len(ids) - sum(hidden)
        padding = len(ids) - kept
        output = self._encode_ids(
            [*(ids[row] for row in order[:kept]), *[self.layout.pad.id] * padding],
            [*(is_content[row] for row in order[:kept]), *[False] * padding],
            clip_skip,
            weights=None if weights is None else [*(weights[row] for row in order[:kept]), *[1.0] * padding],
        )
        rows = torch.empty_like(output.rows)
        rows[order] = output.rows
        return EncoderOutput(rows, output.pooled)

    def _encode_ids(
        self,
        ids: Sequence[int],
        is_content: Sequence[bool],
        clip_skip: int | None,
        visible: Sequence[bool] | None = None,
        weights: Sequence[float] | None = None,
    ) -> EncoderOutput:
        if weights is not None and all(weight == 1 for weight in weights):
            weights = None  # the call of the pipeline itself, so that the output is bit for bit the same
        if not self.kind.supports_clip_skip:
            clip_skip = None
        if self.kind.masks_padding and getattr(self.model.config, "use_attention_mask", False):
            visible = [a and (visible is None or visible[row]) for row, a in enumerate(is_content)]
        key = (
            tuple(ids),
            None if visible is None else tuple(visible),
            clip_skip,
            None if weights is None else tuple(weights),
        )
        if key not in self._outputs:
            if weights is None:
                mask = None if visible is None else torch.tensor([visible], device=self.device).long()
                self._outputs[key] = self._run_model(ids, mask, clip_skip)
            else:
                with apply_clip_bias(self.model, weights, visible) as bias:
                    self._outputs[key] = self._run_model(ids, bias.to(self.device), clip_skip)
        return self._outputs[key]

    def _run_model(self, ids: Sequence[int], mask: Tensor | None, clip_skip: int | None) -> EncoderOutput:
        is_inner = self.kind.layer == "penultimate" or clip_skip is not None
        options = {"output_hidden_states": True} if is_inner else {}
        output = self.model(torch.tensor([list(ids)], device=self.device), attention_mask=mask, **options)
        rows = self._inner_rows(output.hidden_states, clip_skip or 0) if is_inner else output[0]
        pooled = getattr(output, "text_embeds", None)
        if pooled is None:
            pooled = getattr(output, "pooler_output", None)
        dtype = self.model.dtype
        return EncoderOutput(rows[0].to(dtype), None if pooled is None else pooled[0].to(dtype))

    def _inner_rows(self, states: Sequence[Tensor], clip_skip: int) -> Tensor:
        """Return the hidden states `clip_skip` layers before the default output."""
        default = 2 if self.kind.layer == "penultimate" else 1
        if default + clip_skip > len(states):
            raise SettingError(
                message(
                    "clip-skip-range",
                    highest=len(states) - default,
                    encoder=self.kind.name,
                    clip_skip=clip_skip,
                )
            )
        rows = states[-default - clip_skip]
        if self.kind.layer == "penultimate":
            return rows
        # Since transformers 5.6 CLIPTextModel holds its layers itself; before, in `text_model`.
        return getattr(self.model, "text_model", self.model).final_layer_norm(rows)


@dataclass(frozen=True)
class _WeightedRows:
    """The rows of a token table as tensors for the weighting methods.

    `weights` act on the embeddings, `clip_weights` inside a CLIP text encoder. A word that acts in one of
    them has weight 1 in the other; a word that acts in the denoiser's attention has weight 1 in both.
    """

    weights: Tensor
    clip_weights: Tensor
    segments: Tensor
    is_text: Tensor
    is_padding: Tensor

    @classmethod
    def of(cls, table: TokenTable, normalizer: Normalizer, default: DefaultWeighting) -> _WeightedRows:
        spans = table.prompt.spans
        weightings = [
            _resolve_weighting(spans[token.span].options if token.span >= 0 else NO_OPTIONS, token, default)
            for token in table.tokens
        ]
        encoder_weights = [
            1.0 if each in KEY_WEIGHTINGS else token.weight
            for each, token in zip(weightings, table.tokens, strict=True)
        ]
        is_text = torch.tensor([token.kind == "text" for token in table.tokens])
        segments = torch.tensor([token.span for token in table.tokens])
        weights = normalizer(
            torch.tensor(encoder_weights, dtype=torch.float32), is_text=is_text, segments=segments
        )
        in_clip = torch.tensor([each == CLIP_ATTENTION for each in weightings])
        return cls(
            weights.masked_fill(in_clip, 1.0),
            weights.masked_fill(~in_clip, 1.0),
            segments,
            is_text,
            torch.tensor([token.kind == "pad" for token in table.tokens]),
        )


def _resolve_weighting(options: Options, token: Token, default: DefaultWeighting) -> WordWeighting:
    return resolve_word_weighting(options.weighting, token.weight, default, is_local=options.is_local)
