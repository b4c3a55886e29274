"""Rules for weights in attention: by step, by region, and by the quantity that the weight multiplies.

    logit   softmax(s + log w)_j: the word's keys get a larger share, and all shares still sum to 1.
            Weight 0 masks the key; a negative weight acts as |w| on the logit and negates the value.
    p2p     w_j·p_j, not renormalized (prompt-to-prompt, Hertz et al., 2022)
    value   w_j·v_j: the same output as p2p, Σ w_j·p_j·v_j, under another name

A rule may be limited to a range of steps, change linearly from one weight to another over them, and be
limited to a region of the image. Where the region covers a fraction m (0..1) of a cell, w acts there as w^m
(logit) or 1 + (w − 1)·m.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from promptweight import validation
from promptweight.attention.control.regions import Region, make_region
from promptweight.attention.kernels.biased import in_closed_form_range
from promptweight.conditioning import has_blend
from promptweight.errors import SettingError
from promptweight.maps import PlacedTable
from promptweight.messages import message
from promptweight.weighting import (
    KEY_MODES,
    KeyMode,
    SessionMode,
    compute_logit_bias,
    resolve_mode,
    splits_weights,
)


@dataclass(frozen=True)
class KeyRule:
    """Weight of one key of one prompt.

    Args:
        weight: the weight; with `to`, the weight at the first of `steps`.
        mode: the quantity that the weight multiplies.
        steps: the range of the run in which the rule acts, as fractions; the whole run when None.
        to: the weight at the last of `steps`, reached linearly.
        region: the region of the image in which the rule acts; the whole image when None.

    Raises:
        SettingError: a value outside its range.
    """

    weight: float = 1.0
    mode: KeyMode = "logit"
    steps: tuple[float, float] | None = None
    to: float | None = None
    region: Region | None = None

    def __post_init__(self) -> None:
        for name, value in (("weight", self.weight), ("to", self.to)):
            if value is not None and not (isinstance(value, Real) and math.isfinite(value)):
                raise SettingError(f"{name} must be a finite number; got {value!r}")
        validation.check_choice("mode", self.mode, KEY_MODES)
        if self.steps is not None and not 0 <= self.steps[0] < self.steps[1] <= 1:
            raise SettingError(f"steps must be two increasing fractions of the run, 0 to 1; got {self.steps}")

    def weight_at(self, step: int, steps: int) -> float:
        """Return the weight at step `step` of a run of `steps`; 1 outside the rule's range.

        Step i is in the range from begin to end when begin ≤ i / steps < end.
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
    """Tensors by which rules change one layer's attention; None where the layer runs as without weights."""

    bias: Tensor | None = None
    """Added to the logits: (batch, 1, 1 or height · width, keys) float32."""
    factors: Tensor | None = None
    """Multiplied with the values: (batch, 1, keys, 1) float32."""
    local_columns: Tensor | None = None
    """Keys whose values have factors that differ over the image: (batch, n) int64."""
    local_excess: Tensor | None = None
    """Those factors less 1: (batch, 1, height · width, n) float32."""
    columns: Tensor | None = None
    """The keys with a bias, (batch, n) int64, padded with keys without one. None where a weight is outside
    the closed form of `promptweight.attention.kernels.biased`, or where only the device knows the bias."""

    def with_bias(self, bias: Tensor) -> AttentionTerms:
        """Return a copy with `bias`, (batch, 1, 1, keys), added to the logits."""
        return replace(self, bias=bias if self.bias is None else self.bias + bias, columns=None)


class KeyRules:
    """Rules of every key of every prompt variant of a session; they may change during a run.

    Args:
        keys: for each variant the rules of its keys, by position; other keys have weight 1.
        length: number of keys of every variant.
    """

    def __init__(self, keys: Sequence[Mapping[int, KeyRule]], length: int) -> None:
        self.keys = [dict(each) for each in keys]
        self.length = length
        self._cache: tuple[object, dict[tuple[int, int], AttentionTerms]] = (None, {})

    def set(self, variant: int, positions: Iterable[int], **changes: Any) -> None:
        """Change the rules of some keys of a variant from the model's next call on.

        Args:
            variant: index of the variant.
            positions: positions of the keys.
            changes: fields of `KeyRule`; the others keep their values. A region as `make_region` takes it.

        Raises:
            SettingError: a value outside its range, or an unknown field.
        """
        known = [each.name for each in fields(KeyRule)]
        if unknown := sorted(changes.keys() - known):
            raise SettingError(
                f"options of a weight must be among: {', '.join(known)}; got {', '.join(unknown)}"
            )
        if changes.get("region") is not None:
            changes["region"] = make_region(changes["region"])
        rules = self.keys[variant]
        self.keys[variant] = rules | {
            position: replace(rules.get(position, KeyRule()), **changes) for position in positions
        }

    def terms_at(
        self,
        variants: Sequence[int | None],
        step: int,
        steps: int,
        size: tuple[int, int],
        device: torch.device,
    ) -> AttentionTerms:
        """Return the terms of a layer at a step.

        Args:
            variants: the variant of every row of the batch; None for rows without rules.
            step: the step, from 0.
            steps: number of steps of the run.
            size: height and width of the layer's grid.
            device: device of the returned tensors.
        """
        active = tuple(
            () if variant is None else self._active_rules(variant, step, steps) for variant in variants
        )
        if self._cache[0] != (active, device):
            self._cache = ((active, device), {})
        by_size = self._cache[1]
        if size not in by_size:
            by_size[size] = build_terms(active, self.length, size, device)
        return by_size[size]

    def _active_rules(self, variant: int, step: int, steps: int) -> tuple[tuple[int, KeyRule], ...]:
        """Return the rules whose weight is not 1 at this step, each with that weight."""
        current = (
            (position, rule, rule.weight_at(step, steps)) for position, rule in self.keys[variant].items()
        )
        return tuple(
            (position, KeyRule(weight, rule.mode, region=rule.region))
            for position, rule, weight in current
            if weight != 1
        )


def build_terms(
    rows: Sequence[Sequence[tuple[int, KeyRule]]], length: int, size: tuple[int, int], device: torch.device
) -> AttentionTerms:
    """Build the terms for the (position, rule) pairs of every row of a batch."""
    if not any(rows):
        return AttentionTerms()
    cells = math.prod(size) if any(rule.region for row in rows for _, rule in row) else 1
    bias = torch.zeros(len(rows), 1, cells, length)
    factors = torch.ones(len(rows), 1, length, 1)
    local: list[list[tuple[int, Tensor]]] = [[] for _ in rows]
    biased: list[list[int]] = [[] for _ in rows]
    in_range = True
    for number, row in enumerate(rows):
        for position, rule in row:
            coverage = torch.ones(1) if rule.region is None else rule.region.rasterize(*size).flatten()
            factor = rule.weight
            if rule.mode == "logit":
                bias[number, 0, :, position] = compute_logit_bias(rule.weight) * coverage
                factor = -1.0 if rule.weight < 0 else 1.0
                biased[number].append(position)
                in_range = in_range and in_closed_form_range(rule.weight)
            if factor != 1 and rule.region is not None:
                local[number].append((position, (factor - 1) * coverage))
            else:
                factors[number, 0, position] = factor
    width = max(map(len, local))
    columns = torch.zeros(len(rows), width, dtype=torch.int64)
    excess = torch.zeros(len(rows), 1, cells, width)
    for number, of_row in enumerate(local):
        for column, (position, values) in enumerate(of_row):
            columns[number, column] = position
            excess[number, 0, :, column] = values
    return AttentionTerms(
        bias.to(device) if bias.any() else None,
        factors.to(device) if (factors != 1).any() else None,
        columns.to(device) if width else None,
        excess.to(device) if width else None,
        _pad_positions(biased, length).to(device) if in_range and bias.any() else None,
    )


def _pad_positions(positions: Sequence[Sequence[int]], length: int) -> Tensor:
    """Return positions (rows, longest), each row padded with a position below `length` that it lacks."""
    longest = max(map(len, positions))
    rows = []
    for own in positions:
        other = next((position for position in range(length) if position not in own), 0)
        rows.append([*own, *[other] * (longest - len(own))])
    return torch.tensor(rows, dtype=torch.int64)


def make_key_rules(
    tables: Sequence[PlacedTable], default: SessionMode | None, method: str | None = None
) -> dict[int, KeyRule]:
    """Make the rules of a prompt from the weights in its text, by row of the text embeddings.

    Args:
        tables: the prompt's token tables.
        default: mode of weights without one; None where such weights act in the embeddings, "split" where
            those above 1 act in attention if the method is `presence`.
        method: method of the weights in the embeddings; None for the default of each dialect.

    Raises:
        SettingError: the prompt has weights and is a blend, whose rows stand for several words each.
    """
    rules = {}
    for placed in tables:
        spans = placed.table.prompt.spans
        if default == "split" and not splits_weights(method, placed.table.prompt.dialect):
            default = None
        if has_blend(placed.table) and any(
            span.weight != 1 and resolve_mode(None, span.weight, default) in KEY_MODES for span in spans
        ):
            raise SettingError(message("blend-attention-weights", prompt=placed.table.prompt.source))
        for token in placed.table.tokens:
            if token.kind != "text":
                continue
            options = spans[token.span].options
            mode = resolve_mode(options.mode, token.weight, default)
            if mode in KEY_MODES and (token.weight != 1 or options.to is not None):
                region = None if options.region is None else make_region(options.region)
                rules[placed.start + token.position] = KeyRule(
                    token.weight, mode, options.steps, options.to, region
                )
    return rules
