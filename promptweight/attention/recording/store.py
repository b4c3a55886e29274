"""Store of recorded attention: sums of probabilities on the model's device, within a memory limit.

A slot has, for one layer or for all layers of one grid, the float32 sum of every probability added to it and
the number of additions. The mean is computed when a map is requested, so no precision is lost in the run. The
slots of a run are allocated before its first step, from the sizes alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptweight.attention.batch_rows import BatchRow
from promptweight.attention.layers import Layer, grid_size
from promptweight.attention.recording.record import Record, RecordingPlan, plan_recording
from promptweight.conditioning import Role
from promptweight.errors import AttachError
from promptweight.maps import Placement, PromptVariant, RecordedSlot, Recording, SlotKind
from promptweight.messages import message


@dataclass
class GridPool:
    """Mean of the words' probabilities over the layers of one grid so far in the current call of the model.

    Layers with and without `is_advised` have separate pools.
    """

    total: Tensor
    """(rows, pixels, columns) float32."""
    count: Tensor
    """() float32."""

    def add(self, words: Tensor) -> Tensor:
        """Add a layer's probabilities, averaged over its heads; return the mean of all layers so far."""
        self.total += words
        self.count += 1
        return self.total / self.count


@dataclass
class Slot:
    """Summed probabilities of one layer, or of several with the same grid."""

    layers: tuple[str, ...]
    stride: int
    height: int
    width: int
    sums: Tensor
    """(indices, heads, height · width or patches, columns) float32, in the order of `Store.slot_index`."""
    counts: Tensor
    """Number of additions at each index: (indices,) float32."""
    patches: Tensor | None = None
    """Grid positions whose attention is summed: (patches,) int64."""
    callback: Callable[[Tensor], None] | None = None
    """Function of every added tensor of probabilities, before its heads are averaged."""
    pool: GridPool | None = None
    """Pool of this grid, for refined maps."""
    is_advised: bool = True
    """True if the model's authors advise to read maps from these layers."""

    def add(self, probabilities: Tensor, indices: Tensor) -> None:
        """Add probabilities (rows, heads, queries, columns) of one call of a layer at `indices` (rows,)."""
        if self.callback is not None:
            self.callback(probabilities)
        if self.sums.shape[1] == 1:
            probabilities = probabilities.mean(1, keepdim=True)
        self.sums.index_add_(0, indices, probabilities)
        self.counts.index_add_(0, indices, torch.ones_like(indices, dtype=torch.float32))


class Store:
    """Slots of one run's recording, and the indices of the batch's rows in them.

    Attributes:
        plan: the shape of the recording; None before the first call.
        slots: by kind and by layer name; layers that share a slot have the same object.
        prompts: the prompt of every recorded image, by role and image.
        max_columns: number of columns of the longest recorded variant.
        max_variants: number of variants of the prompt with the most; each has indices of its own.

    Args:
        record: the settings.
        layers: the recorded layers, in the order in which they run.
        columns: the recorded key positions of each variant, by role, prompt and variant.
        length: number of text positions.
    """

    def __init__(
        self,
        record: Record,
        layers: Sequence[Layer],
        columns: Mapping[tuple[Role, int, int], Sequence[int]],
        length: int = 0,
    ) -> None:
        self.record = record
        self.length = length
        self.layers = layers
        recorded = {key: row for key, row in columns.items() if key[0] in record.roles}
        self.max_columns = max(map(len, recorded.values()), default=0)
        self.columns = {key: [*row, *[0] * (self.max_columns - len(row))] for key, row in recorded.items()}
        self.max_variants = 1 + max((variant for _, _, variant in recorded), default=0)
        self.clear()

    def clear(self) -> None:
        """Drop the recording and its shape; the next call of the model begins a new one."""
        self.plan: RecordingPlan | None = None
        self.size = (0, 0)
        self.images, self.frames = 0, 1
        self.slots: dict[SlotKind, dict[str, Slot]] = {}
        self.prompts: dict[tuple[Role, int], int] = {}
        # results of `begin_call`: new tensors in every call would make the host wait for the device
        self._indices: dict[object, tuple[Tensor, Tensor, Tensor]] = {}

    def begin_call(
        self,
        batch_rows: Sequence[BatchRow | None],
        size: tuple[int, int],
        step: int,
        steps: int,
        device: torch.device,
        frames: int = 1,
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Prepare the slots for one call of the model.

        Args:
            batch_rows: the rows of the batch.
            size: height and width of the latents; another size or number of images than before begins a new
                recording.
            step: the step, from 0.
            steps: number of steps of the run.
            device: device of the model.
            frames: number of frames in each row of a video; each is an image of the recording.

        Returns:
            Indices of the recorded rows of the batch (rows,), their columns (rows, n_columns) and the
            indices of their frames in the slots (rows · frames,), int64; None when no row is recorded.

        Raises:
            AttachError: the step is beyond the run's last one.
        """
        recorded = select_recorded_rows(batch_rows, self.record.roles)
        if not recorded:
            return None
        images = frames * (1 + max(row.image for row in recorded.values()))
        if (self.size, self.images, self.frames) != (size, images, frames):
            self._allocate(size, images, frames, steps, device)
        assert self.plan is not None
        if self.plan.steps == 1:
            step = 0
        elif step >= self.plan.steps:
            raise AttachError(message("record-run-steps", steps=self.plan.steps, step=step + 1))
        self.prompts |= {
            (row.role, row.image * frames + frame): row.prompt
            for row in recorded.values()
            for frame in range(frames)
        }
        self._begin_pools(len(recorded), device)
        call = (step, *recorded.items())
        if call not in self._indices:
            columns = [self.columns[row.role, row.prompt, row.variant] for row in recorded.values()]
            indices = [
                self.slot_index(step, row, frame) for row in recorded.values() for frame in range(frames)
            ]
            self._indices[call] = (
                torch.tensor(list(recorded), device=device),
                torch.tensor(columns, device=device),
                torch.tensor(indices, device=device),
            )
        return self._indices[call]

    def slot_index(self, step: int, row: BatchRow, frame: int = 0) -> int:
        """Return the index in a slot of a frame of a batch row at a step."""
        role = self.record.roles.index(row.role)
        image = (step * len(self.record.roles) + role) * self.images + row.image * self.frames + frame
        return image * self.max_variants + row.variant

    def _begin_pools(self, rows: int, device: torch.device) -> None:
        """Give the refined slots of each grid an empty pool for a call with this number of recorded rows."""
        pools: dict[tuple[int, bool], GridPool] = {}
        refined = self.slots.get("refined", {})
        for layer in self.layers:
            if layer.name not in refined:
                continue
            slot = refined[layer.name]
            if layer.group not in pools:
                total = torch.zeros(
                    rows, slot.height * slot.width, self.max_columns, dtype=torch.float32, device=device
                )
                pools[layer.group] = GridPool(total, torch.zeros((), dtype=torch.float32, device=device))
            slot.pool = pools[layer.group]

    def _allocate(
        self, size: tuple[int, int], images: int, frames: int, steps: int, device: torch.device
    ) -> None:
        """Begin a recording of this number of images with latents of this size."""
        self.clear()
        rows = images * self.max_variants * len(self.record.roles)
        self.plan = plan_recording(
            self.record, self.layers, size, rows * self.max_columns, steps, rows, self.length
        )
        self.size, self.images, self.frames = size, images, frames
        self.slots = {"words": self._make_slots(self.layers, self.max_columns, device)}
        with_self_attention = [layer for layer in self.layers if layer.self_attention]
        if self.record.refine:
            self.slots["refined"] = self._make_slots(
                with_self_attention, self.max_columns, device, keep_heads=False
            )
        if self.record.patches:
            patches = len(self.record.patches)
            self.slots["patches"] = self._make_slots(with_self_attention, patches, device)
            self.slots["rows"] = self._make_slots(self.layers, self.length, device, queries=patches)
            for slot in (*self.slots["patches"].values(), *self.slots["rows"].values()):
                cells = [find_cell(x, y, slot.height, slot.width) for x, y in self.record.patches]
                slot.patches = torch.tensor(cells, device=device)

    def _make_slots(
        self,
        layers: Sequence[Layer],
        columns: int,
        device: torch.device,
        *,
        keep_heads: bool = True,
        queries: int | None = None,
    ) -> dict[str, Slot]:
        """Make empty slots of the planned shape for these layers; `queries` is the grid's size when None."""
        assert self.plan is not None
        indices = self.plan.steps * self.images * self.max_variants * len(self.record.roles)
        shared: dict[object, list[Layer]] = {}
        for layer in layers:
            shared.setdefault(layer.group if self.plan.by_grid else layer.name, []).append(layer)
        slots: dict[str, Slot] = {}
        for group in shared.values():
            height, width = grid_size(*self.size, group[0].stride)
            heads = group[0].heads if self.plan.keep_heads and keep_heads else 1
            slot = Slot(
                layers=tuple(layer.name for layer in group),
                stride=group[0].stride,
                height=height,
                width=width,
                sums=torch.zeros(
                    indices, heads, queries or height * width, columns, dtype=torch.float32, device=device
                ),
                counts=torch.zeros(indices, dtype=torch.float32, device=device),
                is_advised=group[0].is_advised,
            )
            slots |= dict.fromkeys(slot.layers, slot)
        return slots


def select_recorded_rows(batch_rows: Sequence[BatchRow | None], roles: Sequence[Role]) -> dict[int, BatchRow]:
    """Return the rows of these roles by their index in the batch, without perturbed copies."""
    return {
        index: row
        for index, row in enumerate(batch_rows)
        if row and row.role in roles and not row.is_perturbed
    }


def find_cell(x: float, y: float, height: int, width: int) -> int:
    """Return the index, in row-major order, of the grid cell with a point given in fractions."""
    return min(int(y * height), height - 1) * width + min(int(x * width), width - 1)


def copy_recording(
    store: Store,
    tables: Mapping[Role, Sequence[tuple[PromptVariant, ...]]],
    pixels_per_latent: int,
    placement: Placement | None = None,
) -> Recording:
    """Copy a store's recording to the CPU, so that it needs neither the device's memory nor the device.

    Args:
        store: a store with at least one recorded call of the model.
        tables: the variants of every prompt of the session, by role.
        pixels_per_latent: number of image pixels along a side of a latent.
        placement: place of the image in the picture, where only a crop of it was drawn.
    """
    shape = (-1, len(store.record.roles), store.images * store.max_variants)
    variants = {key: tables[key[0]][prompt] for key, prompt in store.prompts.items()}
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
        roles=store.record.roles,
        tables={key: of_key[0] for key, of_key in variants.items()},
        size=(store.size[0] * pixels_per_latent, store.size[1] * pixels_per_latent),
        patches=store.record.patches,
        other_variants={key: of_key[1:] for key, of_key in variants.items() if len(of_key) > 1},
        max_variants=store.max_variants,
        placement=placement,
    )
