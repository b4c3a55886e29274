"""Rules for weights in attention: by step, by region, and by the quantity that the weight multiplies.

    attention       softmax(s + log w)_j: the word's keys get a larger share, and all shares still sum to 1.
                    Weight 0 masks the key; a negative weight acts as |w| on the logit and negates the value.
    attention-p2p   w_j·p_j, not renormalized (prompt-to-prompt, Hertz et al., 2022); computed as w_j·v_j,
                    since Σ w_j·p_j·v_j is the same output
    kjnodes         w_j·v_j up to weight 1, softmax(s + 2(w − 1))_j above it (Krea2PromptWeight of
                    ComfyUI-KJNodes)

A rule may be limited to a range of steps or follow a curve over them, which multiplies the weight, and be
limited to some layers and to a region of the image. Where the region covers a fraction m (0..1) of a cell, w
acts there as w^m (on logits) or 1 + (w − 1)·m (on values).
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
from promptweight.attention.kernels.biased import has_closed_form
from promptweight.conditioning import has_blend
from promptweight.errors import SettingError
from promptweight.maps import PlacedTable
from promptweight.messages import message
from promptweight.prompt import StepCurve, factor_at, make_step_curve
from promptweight.weighting import (
    KEY_WEIGHTINGS,
    KeyWeighting,
    Weighting,
    compute_logit_bias,
    resolve_word_weighting,
)

MAX_WEIGHT = torch.finfo(torch.float32).max
"""Largest product of a weight and the factor of its curve."""

MAX_BIAS = math.log(MAX_WEIGHT)
"""Largest term on a logit: that of the largest weight of `attention`."""

MAX_CACHED_STEPS = 4
"""Number of sets of active rules whose terms are kept: a step may call the model for each role separately."""


@dataclass(frozen=True)
class KeyRule:
    """Weight of one key of one prompt.

    Args:
        weight: the weight.
        weighting: the quantity that the weight multiplies.
        steps: a curve over the run that multiplies the weight, as `make_step_curve` takes it: points
            (position, factor), or the begin and end of the range in which the rule acts; the whole run when
            None.
        layers: parts of the names of the layers in which the rule acts; all layers when empty.
        region: the region of the image in which the rule acts; the whole image when None.

    Raises:
        SettingError: a value outside its range.
    """

    weight: float = 1.0
    weighting: KeyWeighting = "attention"
    steps: StepCurve | None = None
    layers: tuple[str, ...] = ()
    region: Region | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.weight, Real) and math.isfinite(self.weight)):
            raise SettingError(message("number-type", name="weight", value=self.weight))
        validation.check_choice("weighting", self.weighting, KEY_WEIGHTINGS)
        if self.steps is not None:
            object.__setattr__(self, "steps", make_step_curve(self.steps))
        object.__setattr__(self, "layers", validation.check_layers(self.layers))

    def weight_at(self, step: int, steps: int) -> float:
        """Return the weight at step `step` of a run of `steps`; 1 outside the rule's range."""
        if self.steps is None:
            return self.weight
        factor = factor_at(self.steps, step, steps)
        if factor is None:
            return 1.0
        return max(-MAX_WEIGHT, min(MAX_WEIGHT, self.weight * factor))


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

    @property
    def is_regional(self) -> bool:
        """True if a weight acts in a region of the image."""
        return self.local_columns is not None or (self.bias is not None and self.bias.shape[2] > 1)

    def with_bias(self, bias: Tensor) -> AttentionTerms:
        """Return a copy with `bias`, (batch, 1, 1, keys), added to the logits."""
        return replace(self, bias=bias if self.bias is None else self.bias + bias, columns=None)

    def repeat_frames(self, frames: int) -> AttentionTerms:
        """Return the terms of queries that are the positions of several frames, one frame after the other."""
        if frames == 1 or not self.is_regional:
            return self
        has_regions = self.bias is not None and self.bias.shape[2] > 1
        return replace(
            self,
            bias=self.bias.repeat(1, 1, frames, 1) if self.bias is not None and has_regions else self.bias,
            local_excess=None if self.local_excess is None else self.local_excess.repeat(1, 1, frames, 1),
        )

    def select_rows(self, rows: slice) -> AttentionTerms:
        """Return the terms of a range of the batch."""
        each = (getattr(self, each.name) for each in fields(self))
        return AttentionTerms(*(None if tensor is None else tensor[rows] for tensor in each))

    def without_regions(self) -> AttentionTerms:
        """Return the terms of queries that are not the image's, on which regions do not act."""
        has_regions = self.bias is not None and self.bias.shape[2] > 1
        return AttentionTerms(None if has_regions else self.bias, self.factors)


class KeyRules:
    """Rules of every key of every prompt variant of a session; they may change during a run.

    Attributes:
        selections: the `layers` of all rules, each once.

    Args:
        keys: for each variant the rules of its keys, by position; other keys have weight 1.
        length: number of keys of the longest variant.
        default: the rule of other keys when their weight is set, without its weight.
    """

    def __init__(
        self, keys: Sequence[Mapping[int, KeyRule]], length: int, default: KeyRule | None = None
    ) -> None:
        self.keys = [dict(each) for each in keys]
        self.length = length
        self.default = KeyRule() if default is None else default
        self.selections = self._collect_selections()
        self._cache: dict[object, dict[object, AttentionTerms]] = {}

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
            raise SettingError(message("weight-options", known=", ".join(known), options=", ".join(unknown)))
        if changes.get("region") is not None:
            changes["region"] = make_region(changes["region"])
        rules = self.keys[variant]
        self.keys[variant] = rules | {
            position: replace(rules.get(position, self.default), **changes) for position in positions
        }
        self.selections = self._collect_selections()

    def terms_at(
        self,
        variants: Sequence[int | None],
        step: int,
        steps: int,
        size: tuple[int, int],
        device: torch.device,
        selections: frozenset[tuple[str, ...]] | None = None,
        length: int | None = None,
    ) -> AttentionTerms:
        """Return the terms of a layer at a step.

        Args:
            variants: the variant of every row of the batch; None for rows without rules.
            step: the step, from 0.
            steps: number of steps of the run.
            size: height and width of the layer's grid.
            device: device of the returned tensors.
            selections: the selections that include the layer; all when None.
            length: number of keys of the text in this call; that of the rules when None.
        """
        length = self.length if length is None else length
        active = tuple(
            () if variant is None else self._active_rules(variant, step, steps) for variant in variants
        )
        key = (active, device, length)
        if key not in self._cache:
            while len(self._cache) >= MAX_CACHED_STEPS:
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = {}
        rows = active
        if selections is not None and not self.selections <= selections:
            rows = tuple(tuple(each for each in row if each[1].layers in selections) for row in active)
        known = self._cache[key]
        if (size, rows) not in known:
            known[size, rows] = build_terms(rows, length, size, device)
        return known[size, rows]

    def _active_rules(self, variant: int, step: int, steps: int) -> tuple[tuple[int, KeyRule], ...]:
        """Return the rules whose weight is not 1 at this step, each with that weight."""
        current = (
            (position, rule, rule.weight_at(step, steps)) for position, rule in self.keys[variant].items()
        )
        return tuple(
            (position, KeyRule(weight, rule.weighting, None, rule.layers, rule.region))
            for position, rule, weight in current
            if weight != 1
        )

    def _collect_selections(self) -> frozenset[tuple[str, ...]]:
        rules = (rule for of_variant in self.keys for rule in of_variant.values())
        return frozenset((self.default.layers, *(rule.layers for rule in rules)))


def build_terms(
    rows: Sequence[Sequence[tuple[int, KeyRule]]], length: int, size: tuple[int, int], device: torch.device
) -> AttentionTerms:
    """Build the terms for the (position, rule) pairs of every row of a batch."""
    if not any(rows):
        return AttentionTerms()
    cells = math.prod(size) if any(rule.region for row in rows for _, rule in row) else 1
    bias = torch.zeros(len(rows), 1, cells, length, dtype=torch.float32)
    factors = torch.ones(len(rows), 1, length, 1, dtype=torch.float32)
    local: list[list[tuple[int, Tensor]]] = [[] for _ in rows]
    biased: list[list[int]] = [[] for _ in rows]
    in_range = True
    for number, row in enumerate(rows):
        for position, rule in row:
            coverage = (
                torch.ones(1, dtype=torch.float32)
                if rule.region is None
                else rule.region.rasterize(*size).flatten()
            )
            on_logits, factor = split_weight(rule)
            if on_logits is not None:
                bias[number, 0, :, position] = on_logits * coverage
                biased[number].append(position)
                in_range = in_range and has_closed_form(on_logits)
            if factor != 1 and rule.region is not None:
                local[number].append((position, (factor - 1) * coverage))
            else:
                factors[number, 0, position] = factor
    width = max(map(len, local))
    columns = torch.zeros(len(rows), width, dtype=torch.int64)
    excess = torch.zeros(len(rows), 1, cells, width, dtype=torch.float32)
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


def split_weight(rule: KeyRule) -> tuple[float | None, float]:
    """Return what a rule adds to the logits of its key, None for nothing, and the factor of its values.

    >>> split_weight(KeyRule(1.5, "kjnodes")), split_weight(KeyRule(0.5, "kjnodes"))
    ((1.0, 1.0), (None, 0.5))
    """
    if rule.weighting == "attention":
        return compute_logit_bias(rule.weight), -1.0 if rule.weight < 0 else 1.0
    if rule.weighting == "kjnodes" and rule.weight > 1:
        return min(2 * (rule.weight - 1), MAX_BIAS), 1.0
    return None, rule.weight


def _pad_positions(positions: Sequence[Sequence[int]], length: int) -> Tensor:
    """Return positions (rows, longest), each row padded with a position below `length` that it lacks."""
    longest = max(map(len, positions))
    rows = []
    for own in positions:
        other = next((position for position in range(length) if position not in own), 0)
        rows.append([*own, *[other] * (longest - len(own))])
    return torch.tensor(rows, dtype=torch.int64)


def make_default_rule(weighting: Weighting) -> KeyRule:
    """Make the rule, without a weight, of words that have no options of their own."""
    return KeyRule(
        weighting=weighting.name if weighting.name in KEY_WEIGHTINGS else "attention",
        steps=None if weighting.steps is None else make_step_curve(weighting.steps),
        layers=tuple(weighting.layers),
    )


def make_key_rules(
    tables: Sequence[PlacedTable], weighting: Weighting, *, weights_embeddings: bool = True
) -> dict[int, KeyRule]:
    """Make the rules of a prompt from the weights in its text, by row of the text embeddings.

    Args:
        tables: the prompt's token tables.
        weighting: how words without an option are weighted, and the steps and layers in which they are.
        weights_embeddings: whether the embeddings of a word can carry its weight.

    Raises:
        SettingError: the prompt has weights in attention and is a blend, whose rows stand for several words
            each.
    """
    rules, base = {}, make_default_rule(weighting)
    for placed in tables:
        prompt = placed.table.prompt
        default = weighting.word_default(
            prompt.dialect, in_session=True, weights_embeddings=weights_embeddings
        )
        if has_blend(placed.table) and any(
            span.weight != 1 and resolve_word_weighting(None, span.weight, default) in KEY_WEIGHTINGS
            for span in prompt.spans
        ):
            raise SettingError(message("blend-attention-weights", prompt=prompt.source))
        for token in placed.table.tokens:
            if token.kind != "text":
                continue
            span = prompt.spans[token.span]
            options = span.options
            of_word = resolve_word_weighting(
                options.weighting, token.weight, default, is_local=options.is_local
            )
            if of_word in KEY_WEIGHTINGS and span.is_weighted:
                weight = token.weight
                if default in ("split", "presence") and options.weighting is None:
                    weight = weighting.amplify(weight)
                if default == "presence" and options.weighting is None and not options.is_local:
                    weight = max(0.0, weighting.turn_dial(weight))
                rules[placed.start + token.position] = KeyRule(
                    weight,
                    of_word,
                    base.steps if options.steps is None else options.steps,
                    base.layers if options.layers is None else options.layers,
                    None if options.region is None else make_region(options.region),
                )
    return rules
