"""Views of what a session recorded: which layers, steps and heads count, in which unit, and their means.

Nothing is normalized when it is recorded. A view chooses layers, steps and heads. A map is the probability
summed over the phrase's tokens, mean over them: layers of one grid are averaged there, then the grids, after
enlarging to the picture. Grids weigh the same, however many layers they have, or SDXL's 60 layers at the
coarser grid would drown its 10 at the finer one.

Layers whose grid is coarser than a quarter of the latents' sides are left out unless asked for: a cell there
covers 64 × 64 pixels of a picture made by an f8 autoencoder, and blurs whatever finer layers found. So are
grids of fewer cells than `FEWEST_CELLS` along their shorter side, where a whole thing is one cell, and for
refined maps those of fewer than `FEWEST_REFINED`, where what a cell attends to is other things. Both numbers
were chosen on drawn scenes; `promptweight evaluate MODEL --report DIR --questions localization` shows every
layer by itself. The makers of a model may advise layers (`promptweight.models.files.Advice`): then the others
are left out as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from promptweight.conditioning import Role
from promptweight.errors import SettingError
from promptweight.maps.prompt_words import PromptVariant
from promptweight.maps.recording import Kind, Recording
from promptweight.render import upsample_maps

COARSEST_STRIDE = 4
"""Layers with more latents than this along a side of a cell are in a view only when asked for."""
FEWEST_CELLS, FEWEST_REFINED = 6, 12
"""And so are grids with fewer cells along their shorter side, plain and refined; but never the finest."""


@dataclass(frozen=True)
class View:
    """A recording, seen by some of its layers, steps and heads, and in a unit.

    Views are cheap and immutable; `layers`, `steps`, `heads`, `probability`, `share`, `lift`, `refined` give
    new ones.
    """

    recording: Recording
    chosen: tuple[int, ...]
    """Indices of the slots that count, among those of words."""
    step_range: tuple[int, int | None] = (0, None)
    head_indices: tuple[int, ...] | None = None
    unit: Literal["probability", "share", "lift"] = "probability"
    kind: Literal["words", "refined"] = "words"
    """Whether words' maps are as recorded, or averaged by the image's attention to itself."""
    is_usual: bool = True
    """Whether layers were not asked for by name."""
    _grids: dict[tuple[Kind, Role, int, int], list[tuple[Tensor, float]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, recording: Recording) -> Self:
        """The view that a recording is first seen by."""
        words = {i: slot for i, slot in enumerate(recording.slots) if slot.kind == "words"}
        advised = {i: slot for i, slot in words.items() if slot.is_advised} or words
        strides = {i: slot.stride for i, slot in advised.items()}
        limit = max(min(strides.values()), COARSEST_STRIDE)
        near = tuple(i for i, stride in strides.items() if stride <= limit)
        return cls(recording, with_cells(recording, near, FEWEST_CELLS))

    def layers(self, *names: str) -> Self:
        """Only layers whose name holds one of `names` or whose grid is one, as in "16x16"; all without names.

        Raises:
            SettingError: no layer does; the message lists names and grids.
        """
        slots = self.recording.slots
        chosen = tuple(
            index
            for index, slot in enumerate(slots)
            if slot.kind == "words"
            and (
                not names
                or slot.grid in names
                or any(name in layer for name in names for layer in slot.layers)
            )
        )
        if not chosen:
            words = [slot for slot in slots if slot.kind == "words"]
            known = ", ".join(f"{layer} ({slot.grid})" for slot in words for layer in slot.layers)
            raise SettingError(f"no layer is called {' or '.join(map(repr, names))}; layers: {known}")
        return self._view(chosen=chosen, is_usual=False)

    def steps(self, first: int = 0, end: int | None = None) -> Self:
        """Only the steps from `first` up to, not including, `end`; negative numbers count from the last.

        Raises:
            SettingError: the steps were added together, or the range holds none.
        """
        recorded = self.recording.slots[0].sums.shape[0]
        if recorded == 1:
            raise SettingError('the steps were added together; record them apart with Record(steps="keep")')
        if not range(recorded)[first:end]:
            raise SettingError(f"steps {first} to {end} hold none of the {recorded} recorded")
        return self._view(step_range=(first, end))

    def heads(self, *indices: int) -> Self:
        """Only these heads of every layer; all when none is given.

        Raises:
            SettingError: the heads were averaged, or a layer has not as many.
        """
        fewest = min(self.recording.slots[index].sums.shape[3] for index in self.chosen)
        if self.kind == "refined" and indices:
            raise SettingError("refined maps are means over the heads; choose heads without refined()")
        if fewest == 1 and indices:
            raise SettingError('the heads were averaged; record them apart with Record(heads="keep")')
        if any(not 0 <= index < fewest for index in indices):
            raise SettingError(f"heads {indices}; the layers of this view have heads 0 to {fewest - 1}")
        return self._view(head_indices=indices or None)

    def probability(self) -> Self:
        """In probabilities: how much of a pixel's attention a word gets, 0 to 1. Every view begins so."""
        return self._view(unit="probability")

    def share(self) -> Self:
        """In shares: how much a word gets of the attention that all words get at a pixel, 0 to 1.

        Beginning, end and padding, which often hold most of the attention, do not count.
        """
        return self._view(unit="share")

    def lift(self) -> Self:
        """In multiples of the mean over the picture: 2 where a phrase gets twice what it gets on average.

        Probabilities in joint attention are small, since the image's own positions share them; lifts compare
        from model to model.
        """
        return self._view(unit="lift")

    def refined(self) -> Self:
        """With every map averaged, pixel by pixel, over what the pixel attends to in the picture itself.

        At every step and layer the words' probabilities become A·M: A is the mean over the heads of the
        self-attention right before in a UNet, of the image's part of joint attention elsewhere; M is the mean
        over the heads of this layer and of the layers of the same grid that ran before it in this step, since
        layers err in different places; where a model's makers advise layers, of these alone. Pixels of one
        thing attend to each other, so maps fill the thing and keep to its edges. Probabilities still sum to
        1.

        Raises:
            SettingError: it was not recorded.
        """
        if not any(slot.kind == "refined" for slot in self.recording.slots):
            raise SettingError("refined maps were not recorded; record them with Record(refine=True)")
        chosen = with_cells(self.recording, self.chosen, FEWEST_REFINED) if self.is_usual else self.chosen
        return self._view(kind="refined", head_indices=None, chosen=chosen)

    def _view(self, **changes: Any) -> Self:
        return replace(self, _grids={}, **changes)

    def _variants(self, lane: Role, image: int, source: str | None = None) -> tuple[PromptVariant, ...]:
        if (lane, image) not in self.recording.tables:
            known = ", ".join(f"{role} image {number}" for role, number in self.recording.tables)
            raise SettingError(f"{lane} image {image} was not recorded; recorded: {known}")
        variants = self.recording.variants((lane, image))
        if source is None:
            return variants
        chosen = tuple(tuple(placed for placed in variant if source in placed.encoders) for variant in variants)
        if not all(chosen):
            known = ", ".join(name for placed in variants[0] for name in placed.encoders)
            raise SettingError(f"no text encoder is called {source!r}; there are: {known}")
        return chosen

    def _on_picture(
        self, lane: Role, image: int, columns: Mapping[int, Sequence[int]], kind: Kind | None = None
    ) -> Tensor:
        """The sum of these columns of some texts, mean over grids, in the picture's size: (height, width).

        Texts count by how often they were said. Zeros where none of them was in what this view shows.
        """
        kind = kind or self.kind
        by_grid: dict[tuple[int, ...], list[tuple[Tensor, float]]] = {}
        for variant, of_variant in columns.items():
            for grid, count in self._columns_by_grid(lane, image, kind, variant):
                summed = grid[..., list(of_variant)].sum(-1)
                by_grid.setdefault(tuple(summed.shape), []).append((summed, count))
        if not by_grid:
            variants = range(len(self._variants(lane, image)))
            if not any(self._columns_by_grid(lane, image, kind, variant) for variant in variants):
                raise SettingError("the layers of this view did not run in these steps")
            return torch.zeros(self.recording.size)
        on_picture = [upsample_maps(weighted_mean(maps), self.recording.size) for maps in by_grid.values()]
        heat = torch.stack(on_picture).mean(0)
        return heat / heat.mean().clamp_min(1e-12) if self.unit == "lift" else heat

    def _columns_by_grid(self, lane: Role, image: int, kind: Kind, variant: int) -> list[tuple[Tensor, float]]:
        """For every grid of this view the mean over its layers while a text is said, and how often it is.

        The means are (height, width, columns) on the CPU; for "rows" they are (patches, columns), the columns
        being all rows of the text embeddings.
        """
        if (kind, lane, image, variant) in self._grids:
            return self._grids[kind, lane, image, variant]
        role = self.recording.roles.index(lane)
        place = image * self.recording.max_variants + variant
        by_grid: dict[tuple[int, int], list[tuple[Tensor, float]]] = {}
        layers = {layer for index in self.chosen for layer in self.recording.slots[index].layers}
        for slot in self.recording.slots:
            if slot.kind != kind or not layers.intersection(slot.layers):
                continue
            sums = slot.sums[slice(*self.step_range), role, place].sum(0)  # (heads, pixels, columns)
            count = slot.counts[slice(*self.step_range), role, place].sum()
            if self.head_indices is not None:
                sums = sums[list(self.head_indices)]
            if count > 0:
                mean = (sums.mean(0) / count).cpu()
                if kind != "rows":
                    mean = mean.unflatten(0, (slot.height, slot.width))
                by_grid.setdefault((slot.height, slot.width), []).append((mean, float(count)))
        grids = [
            (torch.stack([mean for mean, _ in of_grid]).mean(0), sum(count for _, count in of_grid))
            for of_grid in by_grid.values()
        ]
        if self.unit == "share" and kind not in ("patches", "rows"):
            columns = self.recording.columns((lane, image), variant)
            tables = self.recording.variants((lane, image))[variant]
            words = [columns[row] for placed in tables for row in placed.rows("text")]
            grids = [
                (grid / grid[..., words].sum(-1, keepdim=True).clamp_min(1e-12), count)
                for grid, count in grids
            ]
        self._grids[kind, lane, image, variant] = grids
        return grids


def with_cells(recording: Recording, indices: tuple[int, ...], fewest: int) -> tuple[int, ...]:
    """Those of these slots whose grid has so many cells along its shorter side; the finest if none has."""
    cells = {i: min(recording.slots[i].height, recording.slots[i].width) for i in indices}
    least = min(fewest, max(cells.values()))
    return tuple(i for i in indices if cells[i] >= least)


def weighted_mean(maps: Sequence[tuple[Tensor, float]]) -> Tensor:
    """The mean of maps by their weights; a map by itself, as it is."""
    if len(maps) == 1:
        return maps[0][0]
    total = sum(weight for _, weight in maps)
    return torch.stack([each * (weight / total) for each, weight in maps]).sum(0)
