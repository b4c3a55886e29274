"""What a word's weight does inside attention, step by step and place by place.

    logit   softmax(s + log w)_j: the word's keys get a larger share, and all shares still sum to 1.
            Weight 0 masks the key; a negative one acts as |w| on the logit and turns the value round.
    p2p     w_j·p_j, not renormalized (prompt-to-prompt, Hertz et al., 2022)
    value   w_j·v_j: the same output as p2p, Σ w_j·p_j·v_j, under its other name

A rule may hold for a range of steps only, run from one weight to another over them, and be confined to a
region of the picture; where its region covers a cell by m (0..1), w acts there as w^m or 1 + (w − 1)·m.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from promptweight.attention.control.regions import Region, read_region
from promptweight.attention.kernels.biased import in_closed_form_range
from promptweight.conditioning import has_blend
from promptweight.errors import SettingError
from promptweight.maps import PlacedTable
from promptweight.messages import message

if TYPE_CHECKING:
    pass


KeyMode = Literal["logit", "p2p", "value"]
KEY_MODES: tuple[KeyMode, ...] = get_args(KeyMode)

MASK_BIAS = -1.0e4
"""The logit bias of weight 0: far below any logit, finite, and representable in float16."""


@dataclass(frozen=True)
class KeyRule:
    """How one key of one prompt is weighted.

    Args:
        weight: the weight, or where `to` is given the weight at the first of `steps`.
        mode: what the weight multiplies.
        steps: the part of the run in which the rule holds, as fractions; all of it when None.
        to: the weight at the last of `steps`, reached linearly.
        region: where in the picture the rule holds; everywhere when None.
    """

    weight: float = 1.0
    mode: KeyMode = "logit"
    steps: tuple[float, float] | None = None
    to: float | None = None
    region: Region | None = None

    def __post_init__(self) -> None:
        for name, value in (("weight", self.weight), ("to", self.to)):
            if value is not None and not (isinstance(value, Real) and math.isfinite(value)):
                raise SettingError(f"{name} is {value!r}; it must be a finite number")
        if self.mode not in KEY_MODES:
            raise SettingError(f"mode={self.mode!r}; it must be one of {', '.join(KEY_MODES)}")
        if self.steps is not None and not 0 <= self.steps[0] < self.steps[1] <= 1:
            raise SettingError(f"steps={self.steps}; they must be two rising fractions of the run, 0 to 1")

    def at(self, step: int, steps: int) -> float:
        """The weight at a step of a run of so many; 1 outside the rule's range.

        Step i lies in the range begin to end when begin ≤ i / steps < end.
        """
        begin, end = self.steps or (0.0, 1.0)
        first, last = math.ceil(begin * steps - 1e-9), math.ceil(end * steps - 1e-9) - 1
        if not first <= step <= last:
            return 1.0
        if self.to is None or last == first:
            return self.weight
        return self.weight + (self.to - self.weight) * (step - first) / (last - first)


@dataclass(frozen=True)
class AttentionTerms:
    """What rules do to one layer's attention; None where they do nothing, so that it runs as if alone."""

    bias: Tensor | None = None
    """Added to the logits: (batch, 1, 1 or height · width, keys) float32."""
    factors: Tensor | None = None
    """Multiplied with the values: (batch, 1, keys, 1) float32."""
    local_columns: Tensor | None = None
    """Keys whose values have other factors from place to place: (batch, n) int64."""
    local_excess: Tensor | None = None
    """Those factors less 1: (batch, 1, height · width, n) float32."""
    columns: Tensor | None = None
    """The keys with a bias, (batch, n) int64, filled up with keys that have none; None where a weight is not
    one that `promptweight.attention.kernels.biased` corrects for, or none is known to the host."""

    def with_bias(self, bias: Tensor) -> AttentionTerms:
        """The same with more added to the logits, (batch, 1, 1, keys)."""
        return replace(self, bias=bias if self.bias is None else self.bias + bias, columns=None)


class KeyRules:
    """The rules of every key of every prompt of a session; they may change while a picture is being made.

    Args:
        keys: for each prompt the rules of its keys, by position; other keys have weight 1.
        length: how many keys every prompt has.
    """

    def __init__(self, keys: Sequence[Mapping[int, KeyRule]], length: int) -> None:
        self.keys = [dict(each) for each in keys]
        self.length = length
        self._made: tuple[object, dict[tuple[int, int], AttentionTerms]] = (None, {})

    def set(self, prompt: int, positions: Iterable[int], **changes: Any) -> None:
        """Change the rules of some keys of a prompt; it acts from the model's next call.

        Args:
            prompt: which prompt.
            positions: which of its keys.
            changes: fields of `KeyRule`; the others stay as they are. A region as `read_region` takes it.

        Raises:
            SettingError: a value outside its range, or no such field.
        """
        known = [each.name for each in fields(KeyRule)]
        if unknown := sorted(changes.keys() - known):
            raise SettingError(f"{', '.join(unknown)}: no setting of a weight; there are: {', '.join(known)}")
        if changes.get("region") is not None:
            changes["region"] = read_region(changes["region"])
        rules = self.keys[prompt]
        self.keys[prompt] = rules | {
            place: replace(rules.get(place, KeyRule()), **changes) for place in positions
        }

    def terms(
        self,
        prompts: Sequence[int | None],
        step: int,
        steps: int,
        size: tuple[int, int],
        device: torch.device,
    ) -> AttentionTerms:
        """What the rules do at this step to a layer whose grid has this size.

        Args:
            prompts: the prompt of every row of the batch; None for rows that are left alone.
            step: the number of the step, from 0.
            steps: how many the run has.
            size: height and width of the layer's grid.
            device: where the terms are needed.
        """
        now = tuple(() if prompt is None else self._now(prompt, step, steps) for prompt in prompts)
        if self._made[0] != (now, device):
            self._made = ((now, device), {})
        made = self._made[1]
        if size not in made:
            made[size] = build_terms(now, self.length, size, device)
        return made[size]

    def _now(self, prompt: int, step: int, steps: int) -> tuple[tuple[int, KeyRule], ...]:
        """The rules that do something at this step, each with the weight that it has then."""
        current = ((place, rule, rule.at(step, steps)) for place, rule in self.keys[prompt].items())
        return tuple(
            (place, KeyRule(weight, rule.mode, region=rule.region))
            for place, rule, weight in current
            if weight != 1
        )


def build_terms(
    rows: Sequence[Sequence[tuple[int, KeyRule]]], length: int, size: tuple[int, int], device: torch.device
) -> AttentionTerms:
    """The terms for the (position, rule) pairs of every row of a batch."""
    if not any(rows):
        return AttentionTerms()
    cells = math.prod(size) if any(rule.region for row in rows for _, rule in row) else 1
    bias = torch.zeros(len(rows), 1, cells, length)
    factors = torch.ones(len(rows), 1, length, 1)
    local: list[list[tuple[int, Tensor]]] = [[] for _ in rows]
    biased: list[list[int]] = [[] for _ in rows]
    gentle = True
    for number, row in enumerate(rows):
        for place, rule in row:
            inside = torch.ones(1) if rule.region is None else rule.region.on(*size).flatten()
            factor = rule.weight
            if rule.mode == "logit":
                logarithm = math.log(abs(rule.weight)) if rule.weight else MASK_BIAS
                bias[number, 0, :, place] = max(logarithm, MASK_BIAS) * inside
                factor = -1.0 if rule.weight < 0 else 1.0
                biased[number].append(place)
                gentle = gentle and in_closed_form_range(rule.weight)
            if factor != 1 and rule.region is not None:
                local[number].append((place, (factor - 1) * inside))
            else:
                factors[number, 0, place] = factor
    most = max(map(len, local))
    columns = torch.zeros(len(rows), most, dtype=torch.int64)
    excess = torch.zeros(len(rows), 1, cells, most)
    for number, factored in enumerate(local):
        for column, (place, values) in enumerate(factored):
            columns[number, column] = place
            excess[number, 0, :, column] = values
    return AttentionTerms(
        bias.to(device) if bias.any() else None,
        factors.to(device) if (factors != 1).any() else None,
        columns.to(device) if most else None,
        excess.to(device) if most else None,
        filled_up(biased, length).to(device) if gentle and bias.any() else None,
    )


def filled_up(places: Sequence[Sequence[int]], length: int) -> Tensor:
    """Places out of `length` as (rows, most), filled up in each row with a place that it does not hold."""
    most = max(map(len, places))
    rows = []
    for own in places:
        other = next((place for place in range(length) if place not in own), 0)
        rows.append([*own, *[other] * (most - len(own))])
    return torch.tensor(rows, dtype=torch.int64)


def read_key_rules(tables: Sequence[PlacedTable], default: KeyMode | None) -> dict[int, KeyRule]:
    """The rules that a prompt asks for, by row of the text embeddings.

    Args:
        tables: the prompt's token tables.
        default: how weights act whose words name no mode; None when they act in the embeddings.

    Raises:
        SettingError: weights in the rows of a blend, which stand for several words each.
    """
    rules = {}
    for placed in tables:
        if default in KEY_MODES and placed.table.prompt.weighted and has_blend(placed.table):
            raise SettingError(
                message(
                    "blend-attention-weights",
                    prompt=placed.table.prompt.source,
                )
            )
        spans = placed.table.prompt.spans
        for token in placed.table.tokens:
            if token.kind != "text":
                continue
            options = spans[token.span].options
            mode = options.mode or default
            if mode in KEY_MODES and (token.weight != 1 or options.to is not None):
                region = None if options.region is None else read_region(options.region)
                rules[placed.start + token.position] = KeyRule(
                    token.weight, mode, options.steps, options.to, region
                )
    return rules
