"""Rows of `prompt_embeds`, by sections of one text encoder or of several side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.conditioning.families import EncoderKind
from promptweight.conditioning.pipeline_encoders import AbsentEncoder
from promptweight.conditioning.text_encoder import EncoderWeighting, TextEncoder
from promptweight.conditioning.token_table import TokenTable
from promptweight.messages import Message
from promptweight.weighting import (
    DefaultWeighting,
    Method,
    Weighting,
    get_method,
)

if TYPE_CHECKING:
    from promptweight.prompt import Prompt

Role = Literal["positive", "negative"]
ROLES: tuple[Role, ...] = get_args(Role)
"""The two prompts of classifier-free guidance."""


TextInput = Tensor | list[Tensor]
"""Embeddings or masks of a batch: (prompts, tokens, …), or (tokens, …) of each prompt in a list."""


def stack_texts(value: TextInput) -> Tensor:
    """Return embeddings of a batch as one tensor; in a list, zeros follow those of shorter texts."""
    if isinstance(value, Tensor):
        return value
    length = max(map(len, value))
    return torch.stack([pad_rows(each, length) for each in value])


def select_texts(value: TextInput | None, rows: Sequence[int]) -> TextInput | None:
    """Return the embeddings of some prompts of a batch; None for None."""
    if value is None:
        return None
    return value[list(rows)] if isinstance(value, Tensor) else [value[row] for row in rows]


def pad_rows(tensor: Tensor, rows: int) -> Tensor:
    """Pad the first dimension with zeros."""
    return F.pad(tensor, [0, 0] * (tensor.ndim - 1) + [0, rows - len(tensor)])


@dataclass(frozen=True)
class EncoderSection:
    """A range of rows of `prompt_embeds` from the same text encoders.

    Attributes:
        encoders: the names of its text encoders, without those that the pipeline lacks.
        start: its first row; a token's `position` counts from there.
        rows: the number of its rows.
        positive: the token table of each prompt for the first of `encoders`.
        negative: the token table of each negative prompt for the first of `encoders`.
    """

    encoders: tuple[str, ...]
    start: int
    rows: int
    positive: tuple[TokenTable, ...]
    negative: tuple[TokenTable, ...]


@dataclass(frozen=True)
class EncodingSettings:
    """The settings of one call of `encode_prompts`.

    Attributes:
        weighting: how weights act.
        clip_skip: the number of last layers to skip; None is the default output.
        in_session: whether a session weights the denoiser's attention.
        lora_scale: the scale of the LoRAs in text encoders.
        weights_embeddings: whether the embeddings of a word can carry its weight; not where the pipeline
            encodes the text itself.
    """

    weighting: Weighting
    clip_skip: int | None = None
    in_session: bool = False
    lora_scale: float = 1.0
    weights_embeddings: bool = True

    @property
    def ignores_weights(self) -> bool:
        """True if the method leaves the embeddings without weights."""
        return self.weighting.method == "none" or not self.weights_embeddings

    def choose_method(self, kind: EncoderKind, dialect: str) -> Method:
        """Return the method that weights the embeddings of this encoder in prompts of this dialect."""
        if not self.weights_embeddings:
            return get_method("none")
        return get_method(self.weighting.method_for(dialect, kind.method))

    def for_encoder(self, kind: EncoderKind, dialect: str) -> EncoderWeighting:
        """Return how the weights of prompts of this dialect act in this encoder."""
        method = self.choose_method(kind, dialect)
        return EncoderWeighting(self.weighting, method, self.word_default(dialect))

    def word_default(self, dialect: str) -> DefaultWeighting:
        """Return how words without an option are weighted in prompts of this dialect."""
        return self.weighting.word_default(
            dialect, in_session=self.in_session, weights_embeddings=self.weights_embeddings
        )


@dataclass(frozen=True)
class BatchEncoder:
    """Encoder of a batch of prompts with the text encoders of one pipeline."""

    prompts: Mapping[Role, Sequence[Prompt]]
    encoders: Mapping[EncoderKind, TextEncoder]
    absent: Mapping[EncoderKind, AbsentEncoder]
    settings: EncodingSettings
    warn: Callable[[Message], None]

    def encode_sections(
        self, sections: Sequence[Sequence[EncoderKind]]
    ) -> tuple[tuple[EncoderSection, ...], dict[Role, Tensor]]:
        """Return all sections, and their embeddings concatenated along the rows, (batch, rows, channels)."""
        encoded: list[EncoderSection] = []
        parts: dict[Role, list[list[Tensor]]] = {role: [] for role in ROLES}
        for kinds in sections:
            section, embeds = self._encode_section(kinds, sum(earlier.rows for earlier in encoded))
            encoded.append(section)
            for role in ROLES:
                parts[role].append(embeds[role])
        stacked = {
            role: torch.stack(
                [_concatenate_sections(of_prompt) for of_prompt in zip(*parts[role], strict=True)]
            )
            for role in ROLES
        }
        return tuple(encoded), stacked

    def encode_pooled(self, kinds: Sequence[EncoderKind]) -> dict[Role, Tensor]:
        """Return the pooled vectors of `kinds`, concatenated, (batch, channels)."""
        return {
            role: torch.stack([self._pool(kinds, prompt) for prompt in self.prompts[role]]) for role in ROLES
        }

    def _encode_section(
        self, kinds: Sequence[EncoderKind], start: int
    ) -> tuple[EncoderSection, dict[Role, list[Tensor]]]:
        """Return the section of `kinds` from row `start` on, and its (rows, channels) for each prompt."""
        present = [kind for kind in kinds if kind in self.encoders]
        tables = {
            role: [
                [self.encoders[kind].tokenize(prompt) for kind in present] for prompt in self.prompts[role]
            ]
            for role in ROLES
        }
        every_table = [table for role in ROLES for of_prompt in tables[role] for table in of_prompt]
        chunks = max((table.chunks for table in every_table), default=1)
        if every_table:
            rows = chunks * every_table[0].layout.length
        else:
            rows = max(self.absent[kind].rows for kind in kinds)
        embeds: dict[Role, list[Tensor]] = {
            role: [
                torch.cat(
                    list(self._encode_columns(kinds, dict(zip(present, of_prompt, strict=True)), rows, role)),
                    -1,
                )
                for of_prompt in tables[role]
            ]
            for role in ROLES
        }
        first = {
            role: tuple(of_prompt[0].pad(chunks) for of_prompt in tables[role] if of_prompt) for role in ROLES
        }
        names = tuple(kind.name for kind in present)
        return EncoderSection(names, start, rows, first["positive"], first["negative"]), embeds

    def _encode_columns(
        self, kinds: Sequence[EncoderKind], tables: Mapping[EncoderKind, TokenTable], rows: int, role: Role
    ) -> Iterator[Tensor]:
        """Yield the channels of each encoder of a section, (rows, channels of the encoder)."""
        settings = self.settings
        clip_skip = settings.clip_skip if role == "positive" else None
        for kind in kinds:
            if kind in tables:
                encoder, table = self.encoders[kind], tables[kind]
                weighting = settings.for_encoder(kind, table.prompt.dialect)
                embeds = encoder.embed(table, weighting, clip_skip, self.warn)
                missing = rows // table.layout.length - table.chunks
                yield torch.cat([embeds, *[encoder.encode_empty(clip_skip).rows] * missing])
            elif kind in self.absent:
                yield self.absent[kind].zeros(rows, self.absent[kind].channels)

    def _pool(self, kinds: Sequence[EncoderKind], prompt: Prompt) -> Tensor:
        settings = self.settings
        vectors = []
        for kind in kinds:
            if kind in self.encoders:
                encoder = self.encoders[kind]
                weighting = settings.for_encoder(kind, prompt.dialect)
                vectors.append(encoder.pool(encoder.tokenize(prompt), weighting))
            elif kind in self.absent:
                vectors.append(self.absent[kind].zeros(self.absent[kind].pooled_channels))
        return torch.cat(vectors, -1)


def _concatenate_sections(sections: Sequence[Tensor]) -> Tensor:
    """Concatenate sections (rows, channels) along the rows; zeros fill the missing channels."""
    channels = max(section.shape[-1] for section in sections)
    return torch.cat([F.pad(section, (0, channels - section.shape[-1])) for section in sections])
