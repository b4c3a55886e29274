"""Weights of text: the product of the weights of all groups around it.

`pw` and `a1111` multiply; in `comfy` an explicit number replaces the enclosing weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptweight.prompt.literals import MAX_WEIGHT, clamp_weight
from promptweight.prompt.model import NO_OPTIONS, Options
from promptweight.prompt.nodes import Break, Node, Text, Weighted

EXACT_DEPTH = 8
"""Up to this depth the factors are multiplied in A1111's own order, which makes equal weights equal."""


@dataclass(slots=True)
class WeightedRange:
    """Neighboring ranges of text under one weight, or a BREAK at `ranges[0]`."""

    ranges: list[tuple[int, int]]
    weight: float
    options: Options
    origin: str


def weigh_nodes(
    nodes: Sequence[Node], dialect: str, indices: Iterable[int] | None = None
) -> Iterator[WeightedRange]:
    """Yield the text of nodes with its weights.

    `a1111` joins neighbors of equal weight; the other dialects keep groups apart.

    Args:
        nodes: the nodes of a part.
        dialect: `pw`, `a1111`, `comfy` or `plain`.
        indices: the nodes in force; by default all.
    """
    is_joined = dialect == "a1111"
    groups = _OpenGroups(dialect)
    rounds, squares = groups.rounds, groups.squares
    ranges: list[tuple[int, int]] = []  # of the text not yielded yet
    pending = current = (1.0, NO_OPTIONS, "none")
    is_current = True  # whether `current` is the weight here
    next_stop = len(nodes) + 1
    for index in range(len(nodes)) if indices is None else indices:
        if index >= next_stop:
            next_stop = groups.close(index)
            is_current = False
            if ranges and not is_joined:
                yield WeightedRange(ranges, *pending)
                ranges = []
        node: Any = nodes[index]
        kind = type(node)
        if kind is Text:
            if not is_current:
                current = groups.weigh()
                is_current = True
            start, end = node
            if ranges:
                if pending[0] == current[0] and pending[1] == current[1]:
                    if ranges[-1][1] == start:
                        ranges[-1] = (ranges[-1][0], end)
                    else:
                        ranges.append((start, end))
                    continue
                yield WeightedRange(ranges, *pending)
            ranges, pending = [(start, end)], current
        elif kind is Weighted:
            (squares if node.origin == "square" else rounds).append(node)
            if node.stop < next_stop:
                next_stop = node.stop
            is_current = False
            if ranges and not is_joined:
                yield WeightedRange(ranges, *pending)
                ranges = []
        elif kind is Break:
            if not is_current:
                current = groups.weigh()
                is_current = True
            if ranges:
                yield WeightedRange(ranges, *pending)
                ranges = []
            yield WeightedRange([(node.start, node.end)], -current[0], NO_OPTIONS, "break")
    if ranges:
        yield WeightedRange(ranges, *pending)


class _OpenGroups:
    """The open groups, round and square, with their products, which are made only where there is text."""

    def __init__(self, dialect: str) -> None:
        self.rounds: list[Any] = []
        self.squares: list[Any] = []
        # (weight, weight at the end of a ramp, options) for every depth
        self.round_products: list[tuple[float, float, Options]] = [(1.0, 1.0, NO_OPTIONS)]
        self.square_products: list[tuple[float, float, Options]] = [(1.0, 1.0, NO_OPTIONS)]
        self.weigh = self._replace if dialect == "comfy" else self._multiply

    def close(self, index: int) -> int:
        """Close the groups that end before the node at `index`; return the end of the next one."""
        next_stop = 1 << 62
        for groups, products in (
            (self.rounds, self.round_products),
            (self.squares, self.square_products),
        ):
            while groups and groups[-1].stop <= index:
                groups.pop()
            del products[len(groups) + 1 :]
            if groups and groups[-1].stop < next_stop:
                next_stop = groups[-1].stop
        return next_stop

    def _multiply(self) -> tuple[float, Options, str]:
        """Return the weight, options and origin of text inside all open groups."""
        rounds, squares = self.rounds, self.squares
        depth = len(rounds) + len(squares)
        if depth == 0:
            return 1.0, NO_OPTIONS, "none"
        if depth == 1:
            group = (rounds or squares)[0]
            if group.options.to is None:
                return clamp_weight(group.weight), group.options, group.origin
        if not squares or (rounds and rounds[-1].start > squares[-1].start):
            origin = rounds[-1].origin
        else:
            origin = squares[-1].origin
        if depth <= EXACT_DEPTH:
            weight = 1.0
            for group in sorted(rounds + squares, key=_closing_order):
                weight = clamp_weight(weight * group.weight)
            has_options = any(group.options is not NO_OPTIONS for group in rounds)
        else:
            weight = clamp_weight(_product(rounds, self.round_products)[0] * self._square_weight())
            has_options = True
        options = NO_OPTIONS
        if has_options:
            _, to, options = _product(rounds, self.round_products)
            if options.to is not None:
                options = replace(options, to=clamp_weight(to * self._square_weight()))
        return weight, options, origin

    def _replace(self) -> tuple[float, Options, str]:
        """Return the same where an explicit number replaces the enclosing weight."""
        products, groups = self.round_products, self.rounds
        for group in groups[len(products) - 1 :]:
            weight = group.weight if group.origin == "number" else products[-1][0] * group.weight
            if not -MAX_WEIGHT <= weight <= MAX_WEIGHT:
                weight = MAX_WEIGHT if weight > 0 else -MAX_WEIGHT
            products.append((weight, 1.0, NO_OPTIONS))
        for group in reversed(groups):
            if group.origin != "none":
                return products[-1][0], NO_OPTIONS, group.origin
        return 1.0, NO_OPTIONS, "none"

    def _square_weight(self) -> float:
        """Return the product of the square groups' weights."""
        return _product(self.squares, self.square_products)[0]


def _product(groups: list[Any], products: list[tuple[float, float, Options]]) -> tuple[float, float, Options]:
    """Return the products of groups' weights and ramps, and their options; extend `products` to them."""
    for group in groups[len(products) - 1 :]:
        weight, to, options = products[-1]
        weight *= group.weight
        if group.options is NO_OPTIONS:
            to *= group.weight
        else:
            to *= group.weight if group.options.to is None else group.options.to
            options = _overlay(options, group.options)
        if not -MAX_WEIGHT <= weight <= MAX_WEIGHT:
            weight = MAX_WEIGHT if weight > 0 else -MAX_WEIGHT
        if not -MAX_WEIGHT <= to <= MAX_WEIGHT:
            to = MAX_WEIGHT if to > 0 else -MAX_WEIGHT
        products.append((weight, to, options))
    return products[-1]


def _closing_order(group: Weighted) -> int:
    """Return the key that sorts groups from the inside out."""
    return group.closing_order


def _overlay(outer: Options, inner: Options) -> Options:
    """Return the inner options, and the outer ones that the inner leave open."""
    return Options(
        steps=outer.steps if inner.steps is None else inner.steps,
        to=outer.to if inner.to is None else inner.to,
        region=outer.region if inner.region is None else inner.region,
        mode=outer.mode if inner.mode is None else inner.mode,
        share=outer.share if inner.share is None else inner.share,
    )
