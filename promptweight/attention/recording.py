"""All that a session recorded of one run, by itself: no model, no pipeline, nothing normalised yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from promptweight.attention.lanes import Role
from promptweight.attention.store import Kind, Store
from promptweight.attention.tables import PlacedTable, recorded_rows


@dataclass(frozen=True)
class RecordedSlot:
    """What was recorded of one layer, or of all layers of one grid."""

    layers: tuple[str, ...]
    stride: int
    height: int
    width: int
    sums: Tensor
    """Summed probabilities (steps, roles, images, heads, height · width or patches, columns), float32."""
    counts: Tensor
    """How many were summed (steps, roles, images), float32."""
    kind: Kind = "words"
    """What the columns are: recorded text positions, patches of the picture, or for "rows" the whole text."""

    @property
    def grid(self) -> str:
        """Height and width, as in `AttentionMaps.layers("16x16")`."""
        return f"{self.height}x{self.width}"


@dataclass(frozen=True)
class Recording:
    """All that a session recorded of one run."""

    slots: tuple[RecordedSlot, ...]
    roles: tuple[Role, ...]
    tables: Mapping[tuple[Role, int], tuple[PlacedTable, ...]]
    """The token tables of every recorded lane, by role and image."""
    size: tuple[int, int]
    """Height and width of the picture in pixels."""
    patches: tuple[tuple[float, float], ...] = ()
    """The places (x, y) of the patches whose attention was recorded."""

    def __post_init__(self) -> None:
        for slot in self.slots:
            queries = len(self.patches) if slot.kind == "rows" else slot.height * slot.width
            shape = tuple(slot.sums.shape)
            if len(shape) != 6 or slot.counts.shape != shape[:3] or shape[4] != queries:
                raise ValueError(f"layer {slot.layers} has sums {shape} on a grid of {slot.grid}")

    def columns(self, lane: tuple[Role, int]) -> dict[int, int]:
        """The column of each recorded row of a lane's text embeddings."""
        return {row: column for column, row in enumerate(recorded_rows(self.tables[lane]))}


def take_recording(
    store: Store, tables: Mapping[Role, Sequence[tuple[PlacedTable, ...]]], pixels_per_latent: int
) -> Recording:
    """A copy of what `store` holds now.

    Args:
        store: a store in which a call of the model was recorded.
        tables: the token tables of the session's prompts, by role.
        pixels_per_latent: how many pixels of the picture a side of a latent covers.
    """
    shape = (-1, len(store.record.lanes), store.images)
    slots = {id(slot): (kind, slot) for kind, of_kind in store.slots.items() for slot in of_kind.values()}
    return Recording(
        slots=tuple(
            RecordedSlot(
                slot.layers,
                slot.stride,
                slot.height,
                slot.width,
                slot.sums.clone().unflatten(0, shape),
                slot.counts.clone().unflatten(0, shape),
                kind,
            )
            for kind, slot in slots.values()
        ),
        roles=store.record.lanes,
        tables={lane: tables[lane[0]][prompt] for lane, prompt in store.prompts.items()},
        size=(store.size[0] * pixels_per_latent, store.size[1] * pixels_per_latent),
        patches=store.record.patches,
    )
