"""The rows of `prompt_embeds`, section by section: one text encoder, or several side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.conditioning.families import AbsentEncoder
from promptweight.conditioning.text_encoder import EncoderKind, EncoderMode, TextEncoder
from promptweight.conditioning.token_table import TokenTable
from promptweight.messages import Message
from promptweight.weighting import Method, Normalizer, get_method

if TYPE_CHECKING:
    from promptweight.prompt import Prompt

Role = Literal["positive", "negative"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class EncoderSection:
    """Which text encoders wrote a stretch of the rows of `prompt_embeds`, and what the rows stand for.

    `start` is the first row; a token's `position` counts from there. `positive` and `negative` hold a table
    for each prompt, that of the first of `encoders`; encoders that the pipeline lacks are not named.
    """

    encoders: tuple[str, ...]
    start: int
    rows: int
    positive: tuple[TokenTable, ...]
    negative: tuple[TokenTable, ...]


@dataclass(frozen=True)
class EncodingSettings:
    """How the user wants prompts encoded; `method` None is each encoder's usual one.

    `mode` is where weights act whose words do not say it themselves.
    """

    method: Method | None
    normalizer: Normalizer
    clip_skip: int | None
    weighted_pool: bool
    mode: EncoderMode = "embedding"

    @property
    def ignores_weights(self) -> bool:
        """Whether the user asked for embeddings without weights."""
        return self.method is not None and self.method.name == "none"

    def method_for(self, kind: EncoderKind) -> Method:
        """The method that weighs the embeddings of this encoder."""
        return self.method or get_method(kind.method)


@dataclass(frozen=True)
class Encoding:
    """The encoding of some prompts by the encoders of one pipeline."""

    prompts: Mapping[Role, Sequence[Prompt]]
    encoders: Mapping[EncoderKind, TextEncoder]
    absent: Mapping[EncoderKind, AbsentEncoder]
    settings: EncodingSettings
    warn: Callable[[Message], None]

    def prompt_embeds(
        self, sections: Sequence[Sequence[EncoderKind]]
    ) -> tuple[tuple[EncoderSection, ...], dict[Role, Tensor]]:
        """All sections, and their embeddings one under the other: (batch, rows, channels)."""
        done: list[EncoderSection] = []
        parts: dict[Role, list[list[Tensor]]] = {role: [] for role in ROLES}
        for kinds in sections:
            section, embeds = self._section(kinds, sum(earlier.rows for earlier in done))
            done.append(section)
            for role in ROLES:
                parts[role].append(embeds[role])
        stacked = {
            role: torch.stack([_stack(of_prompt) for of_prompt in zip(*parts[role], strict=True)])
            for role in ROLES
        }
        return tuple(done), stacked

    def pooled_prompt_embeds(self, kinds: Sequence[EncoderKind]) -> dict[Role, Tensor]:
        """The pooled vectors of `kinds`, joined: (batch, channels)."""
        return {
            role: torch.stack([self._pooled(kinds, prompt) for prompt in self.prompts[role]])
            for role in ROLES
        }

    def _section(self, kinds: Sequence[EncoderKind], start: int) -> tuple[EncoderSection, dict[Role, list[Tensor]]]:
        """The section that `kinds` write from row `start` on, and its (rows, channels) for each prompt."""
        written = [kind for kind in kinds if kind in self.encoders]
        tables = {
            role: [
                [self.encoders[kind].tokenize(prompt) for kind in written] for prompt in self.prompts[role]
            ]
            for role in ROLES
        }
        every_table = [table for role in ROLES for of_prompt in tables[role] for table in of_prompt]
        chunks = max((table.chunks for table in every_table), default=1)
        if every_table:
            rows = chunks * every_table[0].frame.length
        else:
            rows = max(self.absent[kind].rows for kind in kinds)
        embeds: dict[Role, list[Tensor]] = {
            role: [
                torch.cat(
                    list(self._columns(kinds, dict(zip(written, of_prompt, strict=True)), rows, role)), -1
                )
                for of_prompt in tables[role]
            ]
            for role in ROLES
        }
        first = {
            role: tuple(of_prompt[0].padded(chunks) for of_prompt in tables[role] if of_prompt)
            for role in ROLES
        }
        names = tuple(kind.name for kind in written)
        return EncoderSection(names, start, rows, first["positive"], first["negative"]), embeds

    def _columns(
        self, kinds: Sequence[EncoderKind], tables: Mapping[EncoderKind, TokenTable], rows: int, role: Role
    ) -> Iterator[Tensor]:
        """What each encoder of a section puts on its channels: (rows, channels of the encoder)."""
        clip_skip = self.settings.clip_skip if role == "positive" else None
        for kind in kinds:
            if kind in tables:
                encoder, table = self.encoders[kind], tables[kind]
                method = self.settings.method_for(kind)
                settings = self.settings
                embeds = encoder.embed(
                    table, method, settings.normalizer, clip_skip, self.warn, settings.mode
                )
                missing = rows // table.frame.length - table.chunks
                yield torch.cat([embeds, *[encoder.read_empty(clip_skip).rows] * missing])
            elif kind in self.absent:
                yield self.absent[kind].zeros(rows, self.absent[kind].channels)

    def _pooled(self, kinds: Sequence[EncoderKind], prompt: Prompt) -> Tensor:
        vectors = []
        for kind in kinds:
            if kind in self.encoders:
                encoder = self.encoders[kind]
                table = encoder.tokenize(prompt)
                settings = self.settings
                vectors.append(
                    encoder.pool(
                        table, settings.normalizer, weighted=settings.weighted_pool, mode=settings.mode
                    )
                )
            elif kind in self.absent:
                vectors.append(self.absent[kind].zeros(self.absent[kind].pooled_channels))
        return torch.cat(vectors, -1)


def _stack(sections: Sequence[Tensor]) -> Tensor:
    """Lay sections (rows, channels) one under the other; narrow ones get zeros on their right."""
    channels = max(section.shape[-1] for section in sections)
    return torch.cat([F.pad(section, (0, channels - section.shape[-1])) for section in sections])
