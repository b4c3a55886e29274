"""All that a session recorded of one run, by itself: no model, no pipeline, nothing normalized yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from promptweight.conditioning import Role
from promptweight.maps.prompt_words import PromptVariant, recorded_rows


@dataclass(frozen=True)
class RecordedSlot:
    """What was recorded of one layer, or of all layers of one grid."""

    layers: tuple[str, ...]
    stride: int
    height: int
    width: int
    sums: Tensor
    """Summed probabilities (steps, roles, images · variants, heads, height · width or patches, columns)."""
    counts: Tensor
    """How many were summed (steps, roles, images · variants), float32."""
    kind: Kind = "words"
    """What the columns are: recorded text positions, patches of the picture, or for "rows" the whole text."""
    is_advised: bool = True
    """Whether they are layers that the model's makers advise to read maps from."""

    @property
    def grid(self) -> str:
        """Height and width, as in `AttentionMaps.layers("16x16")`."""
        return f"{self.height}x{self.width}"


@dataclass(frozen=True)
class Recording:
    """All that a session recorded of one run."""

    slots: tuple[RecordedSlot, ...]
    roles: tuple[Role, ...]
    tables: Mapping[tuple[Role, int], PromptVariant]
    """The token tables of every recorded lane, by role and image; of its prompt's first text."""
    size: tuple[int, int]
    """Height and width of the picture in pixels."""
    patches: tuple[tuple[float, float], ...] = ()
    """The places (x, y) of the patches whose attention was recorded."""
    other_variants: Mapping[tuple[Role, int], tuple[PromptVariant, ...]] = field(default_factory=dict)
    """The token tables of the further texts of prompts that change or that AND joins."""
    max_variants: int = 1
    """How many texts of each lane the sums have room for."""

    def __post_init__(self) -> None:
        for slot in self.slots:
            queries = len(self.patches) if slot.kind == "rows" else slot.height * slot.width
            shape = tuple(slot.sums.shape)
            if len(shape) != 6 or slot.counts.shape != shape[:3] or shape[4] != queries:
                raise ValueError(f"layer {slot.layers} has sums {shape} on a grid of {slot.grid}")

    def variants(self, lane: tuple[Role, int]) -> tuple[PromptVariant, ...]:
        """The token tables of every text of a lane's prompt."""
        return (self.tables[lane], *self.other_variants.get(lane, ()))

    def columns(self, lane: tuple[Role, int], variant: int = 0) -> dict[int, int]:
        """The column of each recorded row of a lane's text embeddings."""
        return {row: column for column, row in enumerate(recorded_rows(self.variants(lane)[variant]))}


Kind = Literal["words", "refined", "patches", "rows"]
"""What a slot sums: words' probabilities, the same averaged by the image's attention to itself, or the
attention of patches of the picture to the picture, or to the whole text."""
