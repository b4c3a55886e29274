"""Views of recorded attention: selection of layers, steps and heads, the unit, and the mean map.

Recorded probabilities are not normalized. A map is the probability summed over the phrase's tokens and
averaged: first over the layers of each grid, then over the grids after upsampling to the image. All grids
have equal weight, however many layers they have; otherwise SDXL's 60 layers at the coarser grid would
outweigh its 10 at the finer one.

The default view omits layers whose grid is coarser than a quarter of the latents: a cell there covers
64 × 64 pixels of an image with an f8 autoencoder and blurs the finer layers. It also omits grids with fewer
than `MIN_CELLS` cells along the shorter side, where a whole object is one cell, and for refined maps those
with fewer than `MIN_REFINED_CELLS`, where a cell attends to other objects. Both limits were selected on
rendered scenes; `promptweight evaluate MODEL --report DIR --only localization` reports every layer. If a
model's authors advise layers (`promptweight.conditioning.Advice`), the others are omitted too.
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
from promptweight.maps.recording import Recording, SlotKind
from promptweight.messages import message
from promptweight.render import upsample_maps
from promptweight.validation import check_choice

MAX_STRIDE = 4
"""Most latents along a side of a cell in the default view."""
MIN_CELLS, MIN_REFINED_CELLS = 6, 12
"""Fewest cells along the shorter side of a grid in the default view, plain and refined, unless it is the
finest."""


@dataclass(frozen=True)
class View:
    """A recording with a selection of layers, steps and heads, and a unit.

    Views are cheap and immutable; `layers`, `steps`, `heads`, `probability`, `share`, `lift`, `refined` and
    `traced` return new ones.
    """

    recording: Recording
    slot_indices: tuple[int, ...]
    """Indices of the selected slots, of those of kind "words"."""
    step_range: tuple[int, int | None] = (0, None)
    head_indices: tuple[int, ...] | None = None
    unit: Literal["probability", "share", "lift"] = "probability"
    kind: Literal["words", "refined"] = "words"
    """Maps of words as recorded, or averaged by the image's self-attention."""
    is_traced: bool = False
    """True if words have the attention of all rows that hold them."""
    has_default_layers: bool = True
    """False if `layers` selected the layers."""
    _grids: dict[tuple[SlotKind, Role, int, int], list[tuple[Tensor, float]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def from_recording(cls, recording: Recording) -> Self:
        """Return the default view of a recording."""
        words = {i: slot for i, slot in enumerate(recording.slots) if slot.kind == "words"}
        advised = {i: slot for i, slot in words.items() if slot.is_advised} or words
        strides = {i: slot.stride for i, slot in advised.items()}
        limit = max(min(strides.values()), MAX_STRIDE)
        fine = tuple(i for i, stride in strides.items() if stride <= limit)
        return cls(recording, _select_fine_grids(recording, fine, MIN_CELLS))

    def layers(self, *names: str) -> Self:
        """Select the layers whose name contains one of `names` or whose grid equals one, as in "16x16".

        Args:
            names: parts of names, or grids; without names all layers.

        Raises:
            SettingError: no layer matches; the error lists names and grids.
        """
        slots = self.recording.slots
        indices = tuple(
            index
            for index, slot in enumerate(slots)
            if slot.kind == "words"
            and (
                not names
                or slot.grid in names
                or any(name in layer for name in names for layer in slot.layers)
            )
        )
        if not indices:
            words = [slot for slot in slots if slot.kind == "words"]
            known = ", ".join(f"{layer} ({slot.grid})" for slot in words for layer in slot.layers)
            raise SettingError(message("maps-layers", known=known, names=", ".join(map(repr, names))))
        return self._replace(slot_indices=indices, has_default_layers=False)

    def steps(self, first: int = 0, end: int | None = None) -> Self:
        """Select the steps from `first` up to, but not including, `end`; negative numbers count from the end.

        Raises:
            SettingError: the steps were not recorded separately, or the range is empty.
        """
        recorded = self.recording.slots[0].sums.shape[0]
        if recorded == 1:
            raise SettingError(message("maps-steps-summed"))
        if not range(recorded)[first:end]:
            raise SettingError(message("maps-steps", recorded=recorded, first=first, end=end))
        return self._replace(step_range=(first, end))

    def heads(self, *indices: int) -> Self:
        """Select these heads of every layer; without indices all heads.

        Raises:
            SettingError: the heads were not recorded separately, or a layer has fewer heads.
        """
        count = min(self.recording.slots[index].sums.shape[3] for index in self.slot_indices)
        if self.kind == "refined" and indices:
            raise SettingError(message("maps-refined-heads"))
        if count == 1 and indices:
            raise SettingError(message("maps-heads-averaged"))
        if any(not 0 <= index < count for index in indices):
            raise SettingError(message("maps-heads", highest=count - 1, heads=indices))
        return self._replace(head_indices=indices or None)

    def probability(self) -> Self:
        """Return maps as probabilities, the default unit: a word's part of a pixel's attention, 0 to 1."""
        return self._replace(unit="probability")

    def share(self) -> Self:
        """Return maps as shares: a word's part of the attention of all words at a pixel, 0 to 1.

        Beginning, end and padding, which often have most of the attention, are excluded.
        """
        return self._replace(unit="share")

    def lift(self) -> Self:
        """Return maps as multiples of their mean over the image: 2 is twice the average.

        Probabilities in joint attention are small, because the image's own positions share them; lifts are
        comparable between models.
        """
        return self._replace(unit="lift")

    def refined(self) -> Self:
        """Return maps averaged, at every pixel, over the pixels that it attends to in the image itself.

        At every step and layer the words' probabilities become A·M. A is the mean over the heads of the
        preceding self-attention in a UNet, and of the image's part of joint attention in other models. M is
        the mean over the heads of this layer and of the layers of the same grid that ran before it in this
        step, because layers have different errors; if a model's authors advise layers, of these alone. Pixels
        of one object attend to each other, so maps fill the object and follow its edges. Probabilities still
        sum to 1.

        Raises:
            SettingError: refined maps were not recorded.
        """
        if not any(slot.kind == "refined" for slot in self.recording.slots):
            raise SettingError(message("maps-not-refined"))
        indices = self.slot_indices
        if self.has_default_layers:
            indices = _select_fine_grids(self.recording, indices, MIN_REFINED_CELLS)
        return self._replace(kind="refined", head_indices=None, slot_indices=indices)

    def traced(self) -> Self:
        """Return maps in which words have the attention of all rows of the embeddings that hold them.

        The text encoder moves a part of every word to the rows of other tokens, to the end and the padding:
        in "um gato vermelho", much of "gato" to "vermelho". The map of a word w becomes Σ_j R[j, w]·map(j)
        over the rows j, with R the rollout of the encoder's attention
        (`promptweight.conditioning.attention_rollout`). Probabilities still sum to 1, and the shares of all
        words, too. Maps of patches are unchanged.

        In a model whose text encoder collects a phrase in its last word, the map of a single word before it
        improves: on `mini`, the peak is on the object for 98 % of Portuguese nouns instead of 58 %. Where
        each word is found by its own row, as on `mini-dit`, the maps lose 0.01 to 0.03 of IoU. So models say
        in their advice (`promptweight.conditioning.Advice`) whether overlays and contact sheets trace single
        words; `promptweight evaluate MODEL --report DIR --only localization` measures both.

        Raises:
            SettingError: traced maps were not recorded.
        """
        if not self.recording.has_traces:
            raise SettingError(message("maps-not-traced"))
        return self._replace(is_traced=True)

    def _replace(self, **changes: Any) -> Self:
        return replace(self, _grids={}, **changes)

    def _variants(self, role: Role, image: int, source: str | None = None) -> tuple[PromptVariant, ...]:
        """Return the token tables of every text of a prompt, restricted to one text encoder if given."""
        if (role, image) not in self.recording.tables:
            known = ", ".join(f"{name} image {index}" for name, index in self.recording.tables)
            raise SettingError(message("maps-image", role=role, image=image, known=known))
        variants = self.recording.variants((role, image))
        if source is None:
            return variants
        encoders = dict.fromkeys(name for placed in variants[0] for name in placed.encoders)
        check_choice("source", source, tuple(encoders))
        return tuple(tuple(placed for placed in variant if source in placed.encoders) for variant in variants)

    def _map_columns(
        self, role: Role, image: int, columns: Mapping[int, Sequence[int]], kind: SlotKind | None = None
    ) -> Tensor:
        """Return the sum of columns of some texts, mean over grids, at the image size: (height, width).

        Texts are weighted by their number of steps. The map is zero if this view includes none of them.
        """
        kind = kind or self.kind
        by_grid: dict[tuple[int, ...], list[tuple[Tensor, float]]] = {}
        for variant, of_variant in columns.items():
            for grid, count in self._columns_by_grid(role, image, kind, variant):
                summed = grid[..., list(of_variant)].sum(-1)
                by_grid.setdefault(tuple(summed.shape), []).append((summed, count))
        if not by_grid:
            variants = range(len(self._variants(role, image)))
            if not any(self._columns_by_grid(role, image, kind, variant) for variant in variants):
                raise SettingError(message("maps-layers-idle"))
            return self.recording.place(torch.zeros(self.recording.drawn_size, dtype=torch.float32))
        size = self.recording.drawn_size
        upsampled = [upsample_maps(_weighted_mean(maps), size) for maps in by_grid.values()]
        heat = torch.stack(upsampled).mean(0)
        if self.unit == "lift":
            heat = heat / heat.mean().clamp_min(1e-12)
        return self.recording.place(heat)

    @torch.autocast("cpu", enabled=False)
    def _columns_by_grid(
        self, role: Role, image: int, kind: SlotKind, variant: int
    ) -> list[tuple[Tensor, float]]:
        """Return the mean over layers and steps with a text, and the number of these, for every grid.

        The means are (height, width, columns) on the CPU; for "rows" they are (patches, columns), and the
        columns are all rows of the text embeddings.
        """
        if (kind, role, image, variant) in self._grids:
            return self._grids[kind, role, image, variant]
        role_index = self.recording.roles.index(role)
        variant_index = image * self.recording.max_variants + variant
        by_grid: dict[tuple[int, int], list[tuple[Tensor, float]]] = {}
        layers = {layer for index in self.slot_indices for layer in self.recording.slots[index].layers}
        for slot in self.recording.slots:
            if slot.kind != kind or not layers.intersection(slot.layers):
                continue
            steps = slice(*self.step_range)
            sums = slot.sums[steps, role_index, variant_index].sum(0)  # (heads, pixels, columns)
            count = slot.counts[steps, role_index, variant_index].sum()
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
        if self.is_traced and kind in ("words", "refined"):
            trace = self.recording.trace((role, image), variant)
            grids = [(grid[..., : len(trace)] @ trace, count) for grid, count in grids]
        if self.unit == "share" and kind not in ("patches", "rows"):
            columns = self.recording.columns((role, image), variant)
            tables = self.recording.variants((role, image))[variant]
            words = [columns[row] for placed in tables for row in placed.rows("text")]
            grids = [
                (grid / grid[..., words].sum(-1, keepdim=True).clamp_min(1e-12), count)
                for grid, count in grids
            ]
        self._grids[kind, role, image, variant] = grids
        return grids


def _select_fine_grids(recording: Recording, indices: tuple[int, ...], min_cells: int) -> tuple[int, ...]:
    """Return the slots whose grid has `min_cells` along its shorter side; the finest grid if none has."""
    cells = {i: min(recording.slots[i].height, recording.slots[i].width) for i in indices}
    limit = min(min_cells, max(cells.values()))
    return tuple(i for i in indices if cells[i] >= limit)


def _weighted_mean(maps: Sequence[tuple[Tensor, float]]) -> Tensor:
    """Return the mean of (map, weight) pairs; a single map is returned unchanged."""
    if len(maps) == 1:
        return maps[0][0]
    total = sum(weight for _, weight in maps)
    return torch.stack([heat * (weight / total) for heat, weight in maps]).sum(0)
