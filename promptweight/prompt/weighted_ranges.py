"""Weights of text: the product of the weights of all groups around it.

`pw` and `a1111` multiply; in `comfy` an explicit number replaces the enclosing weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from promptweight.prompt.literals import MAX_WEIGHT, clamp_weight
from promptweight.prompt.model import NO_OPTIONS, Options
from promptweight.prompt.nodes import Break, Node, Text, Weighted, new_node

EXACT_DEPTH = 8
"""Up to this depth the factors are multiplied in A1111's own order, which makes equal weights equal."""

NEVER = 1 << 62
"""An index after all nodes."""


class WeightedRange(NamedTuple):
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
    groups = _OpenGroups(replaces=dialect == "comfy")
    ranges: list[tuple[int, int]] = []  # of the text not yielded yet
    weight, options, origin = current = (1.0, NO_OPTIONS, "none")  # of `ranges`, and of the text here
    is_current = True  # whether `current` is the weight here
    rounds, squares = groups.rounds, groups.squares
    open_rounds, open_squares = rounds.groups, squares.groups
    next_stop = NEVER
    for index in range(len(nodes)) if indices is None else indices:
        if index >= next_stop:
            next_stop = min(rounds.close(index), squares.close(index))
            is_current = False
            if ranges and not is_joined:
                yield new_node(WeightedRange, (ranges, weight, options, origin))
                ranges = []
        node: Any = nodes[index]
        kind = type(node)
        if kind is Text:
            if not is_current:
                current = groups.weigh()
                is_current = True
            start, end = node
            if ranges:
                if weight == current[0] and options == current[1]:
                    if ranges[-1][1] == start:
                        ranges[-1] = (ranges[-1][0], end)
                    else:
                        ranges.append((start, end))
                    continue
                yield new_node(WeightedRange, (ranges, weight, options, origin))
            ranges = [(start, end)]
            weight, options, origin = current
        elif kind is Weighted:
            (open_squares if node.origin == "square" else open_rounds).append(node)
            stop = node.stop
            if stop < next_stop:
                next_stop = stop
            is_current = False
            if ranges and not is_joined:
                yield new_node(WeightedRange, (ranges, weight, options, origin))
                ranges = []
        elif kind is Break:
            if not is_current:
                current = groups.weigh()
                is_current = True
            if ranges:
                yield new_node(WeightedRange, (ranges, weight, options, origin))
                ranges = []
            yield WeightedRange([(node.start, node.end)], -current[0], NO_OPTIONS, "break")
    if ranges:
        yield new_node(WeightedRange, (ranges, weight, options, origin))


class _OpenGroups:
    """The open groups, round and square, which may cross.

    Args:
        replaces: whether a number replaces the enclosing weight.
    """

    def __init__(self, *, replaces: bool) -> None:
        self.replaces = replaces
        self.rounds = _GroupStack(replaces=replaces)
        self.squares = _GroupStack(replaces=replaces)

    def weigh(self) -> tuple[float, Options, str]:
        """Return the weight, options and origin of text inside all open groups."""
        rounds, squares = self.rounds.groups, self.squares.groups
        depth = len(rounds) + len(squares)
        if depth == 0:
            return 1.0, NO_OPTIONS, "none"
        if depth == 1:
            group = (rounds or squares)[0]
            return clamp_weight(group.weight), group.options, group.origin
        if self.replaces:
            origin = next((group.origin for group in reversed(rounds) if group.origin != "none"), "none")
            return self.rounds.product()[0], NO_OPTIONS, origin
        if not squares or (rounds and rounds[-1].start > squares[-1].start):
            origin = rounds[-1].origin
        else:
            origin = squares[-1].origin
        round_weight, options = self.rounds.product()
        if depth > EXACT_DEPTH:
            return clamp_weight(round_weight * self.squares.product()[0]), options, origin
        weight = 1.0
        for group in sorted(rounds + squares, key=_closing_order):
            weight = clamp_weight(weight * group.weight)
        return weight, options, origin


class _GroupStack:
    """The open groups of one kind, with their products for every depth, made only where there is text."""

    def __init__(self, *, replaces: bool) -> None:
        self.replaces = replaces
        self.groups: list[Any] = []
        self.weights = [1.0]
        self.options = [NO_OPTIONS]

    def close(self, index: int) -> int:
        """Close the groups that end before the node at `index`; return the end of the innermost one left."""
        groups = self.groups
        while groups and groups[-1].stop <= index:
            groups.pop()
        del self.weights[len(groups) + 1 :], self.options[len(groups) + 1 :]
        return groups[-1].stop if groups else NEVER

    def product(self) -> tuple[float, Options]:
        """Return the product of the groups' weights, and the options of the innermost groups with any."""
        weights, options = self.weights, self.options
        weight, own = weights[-1], options[-1]
        for group in self.groups[len(weights) - 1 :]:
            if self.replaces and group.origin == "number":
                weight = group.weight
            else:
                weight *= group.weight
            if not -MAX_WEIGHT <= weight <= MAX_WEIGHT:
                weight = MAX_WEIGHT if weight > 0 else -MAX_WEIGHT
            weights.append(weight)
            if group.options is not NO_OPTIONS:
                own = _overlay(own, group.options)
            options.append(own)
        return weight, own


def _closing_order(group: Weighted) -> int:
    """Return the key that sorts groups from the inside out."""
    return group.closing_order


def _overlay(outer: Options, inner: Options) -> Options:
    """Return the inner options, and the outer ones that the inner leave open."""
    return Options(
        steps=outer.steps if inner.steps is None else inner.steps,
        layers=outer.layers if inner.layers is None else inner.layers,
        region=outer.region if inner.region is None else inner.region,
        weighting=outer.weighting if inner.weighting is None else inner.weighting,
        share=outer.share if inner.share is None else inner.share,
    )
