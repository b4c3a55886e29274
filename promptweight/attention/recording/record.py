"""Settings of a recording, and the plan that fits it into a memory limit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, get_args

from promptweight import validation
from promptweight.attention.layers import Layer, grid_size
from promptweight.conditioning import ROLES, Role
from promptweight.errors import SettingError
from promptweight.messages import Message, message

StepMode = Literal["sum", "keep"]
HeadMode = Literal["mean", "keep"]


@dataclass(frozen=True)
class Record:
    """Settings of a recording.

    Args:
        steps: "sum" adds all steps; "keep" keeps each separately.
        heads: "mean" averages the heads of a layer; "keep" keeps each separately.
        roles: the recorded prompts: "positive", "negative" or both.
        layers: parts of layer names ("up_blocks", "mid_block.attentions.0"); all layers when empty.
        refine: True to record for `AttentionMaps.refined` too: the words' probabilities and shares, averaged
            over the image positions to which each position attends. It computes the image's self-attention a
            second time.
        trace: True to record for `AttentionMaps.traced` too: the attention to all rows of the text
            embeddings, with ends and padding, and the rollout of the text encoders' attention, for which each
            encoder runs once more. None records it on models that advise it
            (`promptweight.conditioning.Advice.traces_words`), for prompts that can be traced.
        patches: points (x, y) in the image, as fractions from its left and top. Their attention to the rest
            of the image is recorded for `AttentionMaps.patch`, and to every token for `AttentionMaps.row`.
        max_mb: maximum memory of the recording in MiB. Where the settings need more, first the heads are
            averaged, then the steps are added, then the layers of one grid, each with a warning of the
            session.

    Raises:
        SettingError: a value outside its range.
    """

    steps: StepMode = "sum"
    heads: HeadMode = "mean"
    roles: tuple[Role, ...] = ("positive",)
    layers: tuple[str, ...] = ()
    max_mb: float = 512.0
    refine: bool = False
    patches: tuple[tuple[float, float], ...] = ()
    trace: bool | None = None

    def __post_init__(self) -> None:
        validation.check_choice("steps", self.steps, get_args(StepMode))
        validation.check_choice("heads", self.heads, get_args(HeadMode))
        if not self.roles or not set(self.roles) <= set(ROLES):
            raise SettingError(message("record-roles", known=", ".join(ROLES), roles=self.roles))
        if not (isinstance(self.max_mb, Real) and self.max_mb > 0):
            raise SettingError(message("record-max-mb", value=self.max_mb))
        if not isinstance(self.patches, (tuple, list)):
            raise SettingError(message("record-patches", patches=self.patches))
        for patch in self.patches:
            if not (
                isinstance(patch, (tuple, list))
                and len(patch) == 2
                and all(isinstance(fraction, Real) and 0 <= fraction <= 1 for fraction in patch)
            ):
                raise SettingError(message("record-patch", patch=patch))

    @property
    def records_self_attention(self) -> bool:
        """True if the image's self-attention is recorded in any form."""
        return self.refine or bool(self.patches)


@dataclass(frozen=True)
class RecordingPlan:
    """Shape of a recording, and a warning for each reduction that the memory limit required."""

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
    rows: int = 1,
    length: int = 0,
) -> RecordingPlan:
    """Plan the finest recording within `record` and its `max_mb`.

    Args:
        record: the settings.
        layers: the recorded layers.
        size: height and width of the latents.
        values: number of probabilities of one head of one layer at a pixel: rows × columns.
        steps: number of steps of the run.
        rows: number of recorded rows of the batch, counted once for each variant.
        length: number of text positions.

    Raises:
        SettingError: no plan fits.
    """

    def megabytes(plan: RecordingPlan) -> float:
        pixels = {layer.name: math.prod(grid_size(*size, layer.stride)) for layer in layers}
        each = [pixels[layer.name] * pixel_values(layer, plan) + row_values(layer, plan) for layer in layers]
        if plan.by_grid:
            each = list(dict(zip((layer.group for layer in layers), each, strict=True)).values())
        return sum(each) * plan.steps * 4 / 2**20

    def row_values(layer: Layer, plan: RecordingPlan) -> int:
        return (layer.heads if plan.keep_heads else 1) * rows * len(record.patches) * length

    def pixel_values(layer: Layer, plan: RecordingPlan) -> int:
        heads = layer.heads if plan.keep_heads else 1
        if not layer.self_attention:
            return heads * values
        return heads * (values + rows * len(record.patches)) + (2 * values if record.refine else 0)

    plan = RecordingPlan(steps if record.steps == "keep" else 1, record.heads == "keep", False, ())
    needed = megabytes(plan)
    reductions: list[tuple[Message, dict[str, Any]]] = [
        (message("record-heads"), {"keep_heads": False}),
        (message("record-steps"), {"steps": 1}),
        (message("record-layers"), {"keep_heads": False, "by_grid": True}),
    ]
    for description, changes in reductions:
        if megabytes(plan) <= record.max_mb:
            break
        if (smaller := replace(plan, **changes)) != plan:
            warning = message("record-reduced", needed=needed, most=record.max_mb, saving=description)
            plan = replace(smaller, warnings=(*plan.warnings, warning))
    if megabytes(plan) > record.max_mb:
        raise SettingError(message("record-too-large", needed=megabytes(plan), most=record.max_mb))
    return plan
