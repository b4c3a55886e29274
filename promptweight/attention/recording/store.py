"""Where recorded attention is kept: sums of probabilities on the device that computes them, within a budget.

A slot holds, for one layer (or for all layers of one grid), the float32 sum of every probability added to it
and how often that happened; the mean is taken when a map is asked for, so nothing is lost on the way. The
slots of a picture are allocated before its first step, from the sizes alone.
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
from promptweight.maps import Kind, PromptVariant, RecordedSlot, Recording


@dataclass
class GridPool:
    """The words' probabilities of the layers of one grid that have run in the running call of the model.

    Layers that are advised to be looked at and those that are not have pools of their own.
    """

    total: Tensor
    """(rows, pixels, columns) float32."""
    count: Tensor
    """() float32."""

    def take(self, words: Tensor) -> Tensor:
        """Add those of a layer, mean over its heads, and give the mean over all that were added."""
        self.total += words
        self.count += 1
        return self.total / self.count


@dataclass
class Slot:
    """Summed probabilities of one layer or of several with the same grid."""

    layers: tuple[str, ...]
    stride: int
    height: int
    width: int
    sums: Tensor
    """(places, heads, height · width or patches, columns) float32, in the order of `Store.place`."""
    counts: Tensor
    """How many probabilities were added at each of those places: (places,) float32."""
    patches: Tensor | None = None
    """The positions in the grid whose attention is summed: (patches,) int64."""
    listener: Callable[[Tensor], None] | None = None
    """Is told of every probability that is added, head by head."""
    pool: GridPool | None = None
    """For refined maps: what the layers of this grid have found in the running call."""
    is_advised: bool = True
    """Whether they are layers that the model's makers advise to read maps from."""

    def add(self, probabilities: Tensor, places: Tensor) -> None:
        """Add probabilities (rows, heads, queries, columns) of one call of a layer at `places` (rows,)."""
        if self.listener is not None:
            self.listener(probabilities)
        if self.sums.shape[1] == 1:
            probabilities = probabilities.mean(1, keepdim=True)
        self.sums.index_add_(0, places, probabilities)
        self.counts.index_add_(0, places, torch.ones_like(places, dtype=torch.float32))


class Store:
    """The slots of one run's recording, and where the rows of each call of the model belong in them.

    Args:
        record: the settings.
        layers: the layers to record, in the order in which they run.
        columns: the key positions to record for each text of a prompt, by role, prompt and variant.
        length: how many positions the text has.
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
        recorded = {key: row for key, row in columns.items() if key[0] in record.lanes}
        longest = max(map(len, recorded.values()), default=0)
        self.columns = {key: [*row, *[0] * (longest - len(row))] for key, row in recorded.items()}
        self.longest = longest
        self.variants = 1 + max((variant for _, _, variant in recorded), default=0)
        """How many texts the prompt with the most of them has; each has places of its own."""
        self.clear()

    def clear(self) -> None:
        """Forget what was recorded and its shape; the next call of the model begins a new recording."""
        self.plan: RecordingPlan | None = None
        self.size = (0, 0)
        self.images = 0
        self.slots: dict[Kind, dict[str, Slot]] = {}
        """By kind and by layer name; layers that share a slot hold the same object."""
        self.prompts: dict[tuple[Role, int], int] = {}
        """The prompt of every recorded lane, by role and image."""
        self._indices: dict[object, tuple[Tensor, Tensor, Tensor]] = {}
        """What `prepare` returned; making it anew at every call would have the host wait for the device."""

    def prepare(
        self,
        lanes: Sequence[BatchRow | None],
        size: tuple[int, int],
        step: int,
        steps: int,
        device: torch.device,
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Make room for one call of the model.

        Args:
            lanes: the lane of every row of the batch.
            size: height and width of the latents; another size or number of images than before begins a new
                recording.
            step: the number of the step, from 0.
            steps: how many the run has.
            device: where the model computes.

        Returns:
            The rows of the batch that are recorded (rows,), their columns (rows, n_columns) and their places
            in the slots (rows,), int64; None when no row is recorded.
        """
        recorded = select_recorded_rows(lanes, self.record.lanes)
        if not recorded:
            return None
        images = 1 + max(lane.image for lane in recorded.values())
        if (self.size, self.images) != (size, images):
            self.allocate(size, images, steps, device)
        assert self.plan is not None
        if self.plan.steps == 1:
            step = 0
        elif step >= self.plan.steps:
            raise AttachError(
                f"the model is called for step {step + 1} of a run of {self.plan.steps} steps; "
                "call reset() on the session before a new run"
            )
        self.prompts |= {(lane.role, lane.image): lane.prompt for lane in recorded.values()}
        self.begin_pools(len(recorded), device)
        call = (step, *recorded.items())
        if call not in self._indices:
            columns = [self.columns[lane.role, lane.prompt, lane.variant] for lane in recorded.values()]
            places = [self.place(step, lane) for lane in recorded.values()]
            self._indices[call] = (
                torch.tensor(list(recorded), device=device),
                torch.tensor(columns, device=device),
                torch.tensor(places, device=device),
            )
        return self._indices[call]

    def begin_pools(self, rows: int, device: torch.device) -> None:
        """Give the refined slots of each grid an empty pool for a call with so many recorded rows."""
        pools: dict[tuple[int, bool], GridPool] = {}
        refined = self.slots.get("refined", {})
        for layer in self.layers:
            if layer.name not in refined:
                continue
            slot = refined[layer.name]
            if layer.group not in pools:
                total = torch.zeros(rows, slot.height * slot.width, self.longest, device=device)
                pools[layer.group] = GridPool(total, torch.zeros((), device=device))
            slot.pool = pools[layer.group]

    def place(self, step: int, lane: BatchRow) -> int:
        """Where a slot keeps this step of this lane."""
        role = self.record.lanes.index(lane.role)
        return (
            (step * len(self.record.lanes) + role) * self.images + lane.image
        ) * self.variants + lane.variant

    def allocate(self, size: tuple[int, int], images: int, steps: int, device: torch.device) -> None:
        """Begin a recording of so many images on latents of this size."""
        self.clear()
        lanes = images * self.variants * len(self.record.lanes)
        self.plan = plan_recording(
            self.record, self.layers, size, lanes * self.longest, steps, lanes, self.length
        )
        self.size, self.images = size, images
        self.slots = {"words": self.make_slots(self.layers, self.longest, device)}
        with_image = [layer for layer in self.layers if layer.self_attention]
        if self.record.refine:
            self.slots["refined"] = self.make_slots(with_image, self.longest, device, keep_heads=False)
        if self.record.patches:
            number = len(self.record.patches)
            self.slots["patches"] = self.make_slots(with_image, number, device)
            self.slots["rows"] = self.make_slots(self.layers, self.length, device, queries=number)
            for slot in (*self.slots["patches"].values(), *self.slots["rows"].values()):
                cells = [find_cell(x, y, slot.height, slot.width) for x, y in self.record.patches]
                slot.patches = torch.tensor(cells, device=device)

    def make_slots(
        self,
        layers: Sequence[Layer],
        columns: int,
        device: torch.device,
        *,
        keep_heads: bool = True,
        queries: int | None = None,
    ) -> dict[str, Slot]:
        """Empty slots for these layers, of the shape planned, for their whole grids or so many queries."""
        assert self.plan is not None
        places = self.plan.steps * self.images * self.variants * len(self.record.lanes)
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
                sums=torch.zeros(places, heads, queries or height * width, columns, device=device),
                counts=torch.zeros(places, device=device),
                is_advised=group[0].is_advised,
            )
            slots |= dict.fromkeys(slot.layers, slot)
        return slots


def select_recorded_rows(lanes: Sequence[BatchRow | None], roles: Sequence[Role]) -> dict[int, BatchRow]:
    """The lanes of these roles that are recorded, by row of the batch."""
    return {row: lane for row, lane in enumerate(lanes) if lane and lane.role in roles and not lane.perturbed}


def find_cell(x: float, y: float, height: int, width: int) -> int:
    """The position, row by row, of the cell of a grid that holds a point given in fractions."""
    return min(int(y * height), height - 1) * width + min(int(x * width), width - 1)


def copy_recording(
    store: Store, tables: Mapping[Role, Sequence[tuple[PromptVariant, ...]]], pixels_per_latent: int
) -> Recording:
    """A copy of what `store` holds now, on the CPU: it takes no memory of the device, nor needs one later.

    Args:
        store: a store in which a call of the model was recorded.
        tables: the token tables of every text of the session's prompts, by role.
        pixels_per_latent: how many pixels of the picture a side of a latent covers.
    """
    shape = (-1, len(store.record.lanes), store.images * store.variants)
    variants = {lane: tables[lane[0]][prompt] for lane, prompt in store.prompts.items()}
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
        tables={lane: of_lane[0] for lane, of_lane in variants.items()},
        size=(store.size[0] * pixels_per_latent, store.size[1] * pixels_per_latent),
        patches=store.record.patches,
        other_variants={lane: of_lane[1:] for lane, of_lane in variants.items() if len(of_lane) > 1},
        max_variants=store.variants,
    )
