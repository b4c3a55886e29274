"""The attention recorded in one run: sums of probabilities by layer, and the token tables of the prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.conditioning import Role
from promptweight.maps.prompt_words import PromptVariant, list_recorded_rows

SlotKind = Literal["words", "refined", "patches", "rows"]
"""Content of a slot: probabilities of words; the same averaged by the image's self-attention ("refined"); or
the attention of patches of the image to the image ("patches") or to the whole text ("rows")."""

PromptKey = tuple[Role, int]
"""Role of a prompt and index of its image."""


@dataclass(frozen=True)
class RecordedSlot:
    """The recorded sums of one layer, or of all layers of one grid."""

    layers: tuple[str, ...]
    stride: int
    """Latents along a side of a cell."""
    height: int
    width: int
    sums: Tensor
    """Summed probabilities (steps, roles, images · variants, heads, height · width or patches, columns)."""
    counts: Tensor
    """Number of summed calls (steps, roles, images · variants), float32."""
    kind: SlotKind = "words"
    """Meaning of the columns: recorded text positions, patches of the image, or for "rows" the whole text."""
    is_advised: bool = True
    """True for layers that the model's authors advise for maps."""

    @property
    def grid(self) -> str:
        """Height and width, as in `AttentionMaps.layers("16x16")`."""
        return f"{self.height}x{self.width}"


class Placement(NamedTuple):
    """Place of the drawn image in the picture that the pipeline returns.

    Attributes:
        box: left, top, right and bottom in pixels of the picture.
        size: height and width of the picture in pixels.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class Recording:
    """All attention recorded in one run."""

    slots: tuple[RecordedSlot, ...]
    roles: tuple[Role, ...]
    tables: Mapping[PromptKey, PromptVariant]
    """The token tables of the first text of every recorded prompt."""
    size: tuple[int, int]
    """Height and width of the image in pixels."""
    patches: tuple[tuple[float, float], ...] = ()
    """Positions (x, y) of the recorded patches, as fractions of the image."""
    other_variants: Mapping[PromptKey, tuple[PromptVariant, ...]] = field(default_factory=dict)
    """The token tables of the further texts of prompts with several."""
    max_variants: int = 1
    """Number of texts per prompt for which the sums have space."""
    placement: Placement | None = None
    """Place of the image in the picture, where only a crop of the picture was drawn."""

    def __post_init__(self) -> None:
        for slot in self.slots:
            queries = len(self.patches) if slot.kind == "rows" else slot.height * slot.width
            shape = tuple(slot.sums.shape)
            if len(shape) != 6 or slot.counts.shape != shape[:3] or shape[4] != queries:
                raise ValueError(
                    f"the sums of layer {slot.layers} must fit a grid of {slot.grid}; got {shape}"
                )

    @property
    def drawn_size(self) -> tuple[int, int]:
        """Height and width of the drawn image in pixels of the picture."""
        if self.placement is None:
            return self.size
        left, top, right, bottom = self.placement.box
        return bottom - top, right - left

    def place(self, heat: Tensor) -> Tensor:
        """Return a map of the drawn image, of `drawn_size`, as one of the picture, 0 outside of the image."""
        if self.placement is None:
            return heat
        (left, top, right, bottom), (height, width) = self.placement
        return F.pad(heat, (left, width - right, top, height - bottom))

    @property
    def has_traces(self) -> bool:
        """True if the rollouts of the text encoders' attention were recorded for all prompts."""
        return all(
            placed.trace is not None
            for key in self.tables
            for variant in self.variants(key)
            for placed in variant
        )

    def trace(self, prompt: PromptKey, variant: int = 0) -> Tensor:
        """Return the part of each column's token (column) in each recorded row (row), (columns, columns)."""
        tables = self.variants(prompt)[variant]
        traces = [placed.trace for placed in tables if placed.trace is not None]
        return torch.block_diag(*traces)

    def variants(self, prompt: PromptKey) -> tuple[PromptVariant, ...]:
        """Return the token tables of every text of a prompt."""
        return (self.tables[prompt], *self.other_variants.get(prompt, ()))

    def columns(self, prompt: PromptKey, variant: int = 0) -> dict[int, int]:
        """Return the column of each recorded row of a prompt's text embeddings."""
        return {row: column for column, row in enumerate(list_recorded_rows(self.variants(prompt)[variant]))}
