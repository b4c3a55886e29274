"""Gives every piece of text the product of the weights of the groups round it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.dialects.a1111_scanner import BREAK, CLOSE, OPEN, TEXT, Scan, scan
from promptweight.prompt.literals import within_reach
from promptweight.prompt.model import NO_OPTIONS, Options, canonical
from promptweight.prompt.source_map import Flow

EXACT_DEPTH = 8
"""Up to so many groups the factors are multiplied in A1111's own order: what is equal there is equal here."""


@dataclass(slots=True)
class Stretch:
    """Neighboring pieces of text (ranges of the flow) under one weight, or a BREAK at ``ranges[0]``."""

    ranges: list[tuple[int, int]]
    weight: float
    options: Options
    origin: str


class Stack:
    """The open groups of one kind, and their products, which are made only when text asks for them."""

    def __init__(self, found: Scan) -> None:
        self.found = found
        self.groups: list[int] = []
        self.products: list[tuple[float, float, Options]] = [
            (1.0, 1.0, NO_OPTIONS)
        ]  # weight, its end, options

    def pop(self) -> None:
        """The innermost group closes."""
        self.groups.pop()
        if len(self.products) > len(self.groups) + 1:
            self.products.pop()

    def product(self) -> tuple[float, float, Options]:
        """The product of all open groups' weights, of the weights that they ramp to, and their options."""
        products, groups = self.products, self.groups
        while len(products) <= len(groups):
            weight, to, options = products[-1]
            group = groups[len(products) - 1]
            factor = self.found.factors[group]
            own = self.found.options.get(group)
            if own is not None:
                options = overlay(options, own)
            ramp = factor if own is None or own.to is None else own.to
            products.append((within_reach(weight * factor), within_reach(to * ramp), options))
        return products[-1]


def overlay(outer: Options, inner: Options) -> Options:
    """The inner options, and the outer ones where the inner say nothing."""
    return Options(
        steps=outer.steps if inner.steps is None else inner.steps,
        to=outer.to if inner.to is None else inner.to,
        region=outer.region if inner.region is None else inner.region,
        mode=outer.mode if inner.mode is None else inner.mode,
        share=outer.share if inner.share is None else inner.share,
    )


def stretches(found: Scan, dialect: str) -> Iterator[Stretch]:
    """Give every text its weight. ``a1111`` joins neighbors of equal weight; ``pw`` keeps groups apart."""
    rounds, squares = Stack(found), Stack(found)
    brackets = found.brackets
    pending: Stretch | None = None
    current: tuple[float, Options, str] | None = (1.0, NO_OPTIONS, "none")
    for kind, first, second in found.events:
        if kind in (OPEN, CLOSE):
            stack = rounds if brackets[first] == "(" else squares
            if kind == OPEN:
                stack.groups.append(first)
            else:
                stack.pop()
            current = None
            if pending is not None and dialect == "pw":
                yield pending
                pending = None
            continue
        if current is None:
            current = weigh(found, rounds, squares)
        if kind == TEXT:
            if pending is not None:
                if pending.weight == current[0] and pending.options == current[1]:
                    last_start, last_end = pending.ranges[-1]
                    if last_end == first:
                        pending.ranges[-1] = (last_start, second)
                    else:
                        pending.ranges.append((first, second))
                    continue
                yield pending
            pending = Stretch([(first, second)], *current)
        elif kind == BREAK:
            if pending is not None:
                yield pending
                pending = None
            yield Stretch([(first, second)], -current[0], NO_OPTIONS, "break")
    if pending is not None:
        yield pending


def weigh(found: Scan, rounds: Stack, squares: Stack) -> tuple[float, Options, str]:
    """The weight, options and origin of text inside all the open groups."""
    depth = len(rounds.groups) + len(squares.groups)
    if depth == 0:
        return 1.0, NO_OPTIONS, "none"
    innermost = max(rounds.groups[-1] if rounds.groups else -1, squares.groups[-1] if squares.groups else -1)
    options = NO_OPTIONS
    if depth <= EXACT_DEPTH:
        weight = exact_product(found, rounds.groups + squares.groups)
    else:
        weight = within_reach(rounds.product()[0] * squares.product()[0])
    if found.options:
        _, to, options = rounds.product()
        if options.to is not None:
            options = replace(options, to=within_reach(to * squares.product()[0]))
    return weight, options, found.origins[innermost]


def exact_product(found: Scan, groups: list[int]) -> float:
    """The product of a few groups' factors, from the inside out."""
    if len(groups) > 1:
        groups.sort(key=found.closed.__getitem__)
    weight = 1.0
    for group in groups:
        weight = within_reach(weight * found.factors[group])
    return weight


def a1111_fragments(source: str) -> list[tuple[str, float]]:
    """What ``parse_prompt_attention`` of AUTOMATIC1111/stable-diffusion-webui finds, in canonical form.

    A BREAK inside a group carries the group's weight, as it does there.
    """
    found = scan(Flow.whole(source), "a1111", Remarks())
    pieces = []
    for stretch in stretches(found, "a1111"):
        # Where BREAK's weight is no longer -1, A1111 takes it for the word, and joins it to its neighbors.
        is_break = stretch.origin == "break" and stretch.weight == -1.0
        text = "".join(source[start:end] for start, end in stretch.ranges)
        pieces.append(("break" if is_break else "text", text, stretch.weight))
    return canonical(pieces)
