"""All that a session recorded of one run, by itself: no model, no pipeline, nothing normalised yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from promptweight.attention.batch_rows import Role
from promptweight.attention.recording.store import Kind, Store
from promptweight.attention.tables import Voice, recorded_rows


@dataclass(frozen=True)
class RecordedSlot:
    """What was recorded of one layer, or of all layers of one grid."""

    layers: tuple[str, ...]
    stride: int
    height: int
    width: int
    sums: Tensor
    """Summed probabilities (steps, roles, images · voices, heads, height · width or patches, columns)."""
    counts: Tensor
    """How many were summed (steps, roles, images · voices), float32."""
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
    tables: Mapping[tuple[Role, int], Voice]
    """The token tables of every recorded lane, by role and image; of its prompt's first text."""
    size: tuple[int, int]
    """Height and width of the picture in pixels."""
    patches: tuple[tuple[float, float], ...] = ()
    """The places (x, y) of the patches whose attention was recorded."""
    other_voices: Mapping[tuple[Role, int], tuple[Voice, ...]] = field(default_factory=dict)
    """The token tables of the further texts of prompts that change or that AND joins."""
    most_voices: int = 1
    """How many texts of each lane the sums have room for."""

    def __post_init__(self) -> None:
        for slot in self.slots:
            queries = len(self.patches) if slot.kind == "rows" else slot.height * slot.width
            shape = tuple(slot.sums.shape)
            if len(shape) != 6 or slot.counts.shape != shape[:3] or shape[4] != queries:
                raise ValueError(f"layer {slot.layers} has sums {shape} on a grid of {slot.grid}")

    def voices(self, lane: tuple[Role, int]) -> tuple[Voice, ...]:
        """The token tables of every text of a lane's prompt."""
        return (self.tables[lane], *self.other_voices.get(lane, ()))

    def columns(self, lane: tuple[Role, int], voice: int = 0) -> dict[int, int]:
        """The column of each recorded row of a lane's text embeddings."""
        return {row: column for column, row in enumerate(recorded_rows(self.voices(lane)[voice]))}


def take_recording(
    store: Store, tables: Mapping[Role, Sequence[tuple[Voice, ...]]], pixels_per_latent: int
) -> Recording:
    """A copy of what `store` holds now, on the CPU: it takes no memory of the device, nor needs one later.

    Args:
        store: a store in which a call of the model was recorded.
        tables: the token tables of every text of the session's prompts, by role.
        pixels_per_latent: how many pixels of the picture a side of a latent covers.
    """
    shape = (-1, len(store.record.lanes), store.images * store.voices)
    voices = {lane: tables[lane[0]][prompt] for lane, prompt in store.prompts.items()}
    slots = {id(slot): (kind, slot) for kind, of_kind in store.slots.items() for slot in of_kind.values()}
    return Recording(
        slots=tuple(
            RecordedSlot(
                slot.layers,
                slot.stride,
                slot.height,
                slot.width,
                slot.sums.to("cpu", copy=True).unflatten(0, shape),
                slot.counts.to("cpu", copy=True).unflatten(0, shape),
                kind,
                slot.is_advised,
            )
            for kind, slot in slots.values()
        ),
        roles=store.record.lanes,
        tables={lane: of_lane[0] for lane, of_lane in voices.items()},
        size=(store.size[0] * pixels_per_latent, store.size[1] * pixels_per_latent),
        patches=store.record.patches,
        other_voices={lane: of_lane[1:] for lane, of_lane in voices.items() if len(of_lane) > 1},
        most_voices=store.voices,
    )
