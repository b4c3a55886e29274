"""What a session records, and how it is made to fit into the memory that it may take."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, get_args

from promptweight.attention.layers import Layer, grid_size
from promptweight.conditioning import ROLES, Role
from promptweight.errors import SettingError
from promptweight.messages import Message, message

StepMode = Literal["sum", "keep"]
HeadMode = Literal["mean", "keep"]


@dataclass(frozen=True)
class Record:
    """What a session records.

    Args:
        steps: "sum" adds all steps together; "keep" keeps each apart.
        heads: "mean" averages the heads of a layer; "keep" keeps each apart.
        lanes: which prompts are recorded, "positive", "negative" or both.
        layers: parts of layer names ("up_blocks", "mid_block.attentions.0"); every layer when empty.
        refine: whether to record for `AttentionMaps.refined` too, the words' probabilities and shares
            averaged over the image positions that a position attends to. It costs the image's self-attention
            a second time.
        patches: places (x, y) in the picture, as fractions from its left and top, whose attention to the rest
            of the picture is recorded for `AttentionMaps.patch`, and to every token for `AttentionMaps.row`.
        max_mb: the most memory the recording may take, in MiB. Where the settings need more, first the heads
            are averaged, then the steps added together, then the layers of one grid; the session's warnings
            say so. When even that is too much, a SettingError tells what is needed.
    """

    steps: StepMode = "sum"
    heads: HeadMode = "mean"
    lanes: tuple[Role, ...] = ("positive",)
    layers: tuple[str, ...] = ()
    max_mb: float = 512.0
    refine: bool = False
    patches: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for name, value, choices in (("steps", self.steps, StepMode), ("heads", self.heads, HeadMode)):
            if value not in get_args(choices):
                raise SettingError(f"{name}={value!r}; it must be one of {', '.join(get_args(choices))}")
        if not self.lanes or not set(self.lanes) <= set(ROLES):
            raise SettingError(f"lanes={self.lanes!r}; it must name some of {', '.join(ROLES)}")
        if not (isinstance(self.max_mb, Real) and self.max_mb > 0):
            raise SettingError(f"max_mb={self.max_mb!r}; it must be a number above 0")
        if not isinstance(self.patches, (tuple, list)):
            raise SettingError(f"patches={self.patches!r}; it must be a list of places (x, y)")
        for patch in self.patches:
            if not (
                isinstance(patch, (tuple, list))
                and len(patch) == 2
                and all(isinstance(fraction, Real) and 0 <= fraction <= 1 for fraction in patch)
            ):
                raise SettingError(f"patch {patch!r}; it must be (x, y) in fractions of the picture, 0 to 1")

    @property
    def reads_image(self) -> bool:
        """Whether the image's attention to itself is recorded in any form."""
        return self.refine or bool(self.patches)


@dataclass(frozen=True)
class RecordingPlan:
    """The shape of a recording: its lengths, and what was given up to stay within the budget."""

    steps: int
    keep_heads: bool
    by_grid: bool
    warnings: tuple[Message, ...]


def plan_recording(
    record: Record,
    layers: Sequence[Layer],
    size: tuple[int, int],
    values: int,
    steps: int,
    lanes: int = 1,
    length: int = 0,
) -> RecordingPlan:
    """The finest recording that `record` asks for and `max_mb` has room for.

    Args:
        record: the settings.
        layers: the layers to record.
        size: height and width of the latents.
        values: how many probabilities one head of one layer has at a pixel: lanes × columns.
        steps: how many steps the run has.
        lanes: how many rows of the batch are recorded.
        length: how many positions the text has.
    """

    def megabytes(plan: RecordingPlan) -> float:
        pixels = {layer.name: math.prod(grid_size(*size, layer.stride)) for layer in layers}
        each = [pixels[layer.name] * columns_at(layer, plan) + row_values(layer, plan) for layer in layers]
        if plan.by_grid:
            each = list(dict(zip((layer.group for layer in layers), each, strict=True)).values())
        return sum(each) * plan.steps * 4 / 2**20

    def row_values(layer: Layer, plan: RecordingPlan) -> int:
        return (layer.heads if plan.keep_heads else 1) * lanes * len(record.patches) * length

    def columns_at(layer: Layer, plan: RecordingPlan) -> int:
        heads = layer.heads if plan.keep_heads else 1
        if not layer.self_attention:
            return heads * values
        return heads * (values + lanes * len(record.patches)) + (2 * values if record.refine else 0)

    plan = RecordingPlan(steps if record.steps == "keep" else 1, record.heads == "keep", False, ())
    needed = megabytes(plan)
    savings: list[tuple[Message, dict[str, Any]]] = [
        (message("record-heads"), {"keep_heads": False}),
        (message("record-steps"), {"steps": 1}),
        (message("record-layers"), {"keep_heads": False, "by_grid": True}),
    ]
    for what, saving in savings:
        if megabytes(plan) <= record.max_mb:
            break
        if (smaller := replace(plan, **saving)) != plan:
            told = message(
                "record-reduced",
                needed=needed,
                most=record.max_mb,
                saving=what,
            )
            plan = replace(smaller, warnings=(*plan.warnings, told))
    if megabytes(plan) > record.max_mb:
        raise SettingError(
            message(
                "record-too-large",
                needed=megabytes(plan),
                most=record.max_mb,
            )
        )
    return plan
