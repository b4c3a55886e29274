"""The weight grammar that ``pw`` and ``a1111`` share: ``(x)``, ``[x]``, ``(x:1.2)``, escapes and BREAK.

A flow is scanned once into events; a second walk over the events gives every piece of text the product of the
groups round it. Round and square groups are two stacks of their own, as in A1111: they may cross.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from promptweight.prompt.flow import Flow
from promptweight.prompt.messages import Remarks
from promptweight.prompt.model import BREAK_FRAGMENT, NO_OPTIONS, Options, canonical
from promptweight.prompt.numbers import (
    A1111_NUMBER,
    ASCII_NUMBER,
    NUMBER_LIKE,
    UNUSUAL_WEIGHT,
    WHITE,
    finite,
    within_reach,
)
from promptweight.prompt.options import read_options

ROUND, SQUARE = "(", "["
FACTOR = {ROUND: 1.1, SQUARE: 1 / 1.1}
ORIGIN = {ROUND: "round", SQUARE: "square"}
PLAIN = re.compile(r"[^()\[\]\\:]++")
BREAK = re.compile(r"\bBREAK\b")
BRACES = re.compile(r"\{[^{}()\[\]]*+\}")
ESCAPABLE = {"pw": frozenset("()[]\\:|#"), "a1111": frozenset("()[]\\")}
EXACT_DEPTH = 8
"""Up to this many groups the factors are multiplied in A1111's own order, so that equal weights are equal bits."""


@dataclass(slots=True)
class Group:
    """One pair of brackets; ``closed`` counts the closings, so that it orders groups from the inside out."""

    bracket: str
    place: int
    factor: float
    origin: str
    options: Options = NO_OPTIONS
    closed: int = -1
    pieces_before: int = 0


@dataclass(slots=True)
class Scan:
    """What one pass over a flow found: text pieces (flow ranges), groups opening and closing, BREAKs, in order."""

    events: list[tuple[str, int, int]] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    looked_at: int = 0


def scan(flow: Flow, dialect: str, remarks: Remarks) -> Scan:
    """Scan a flow into events: ("text", start, end), ("open" | "close", group, place), ("break", start, end)."""
    return Scanner(flow, dialect, remarks).run()


class Scanner:
    """The state of one pass. Every character is looked at a bounded number of times; ``looked_at`` counts them."""

    def __init__(self, flow: Flow, dialect: str, remarks: Remarks) -> None:
        self.flow = flow
        self.text = flow.text
        self.dialect = dialect
        self.remarks = remarks
        self.result = Scan()
        self.open: dict[str, list[int]] = {ROUND: [], SQUARE: []}
        self.closings = 0
        self.pieces = 0
        self.colon = -1  # the last colon since the last bracket

    def run(self) -> Scan:
        """Scan to the end of the text."""
        text, end = self.text, len(self.text)
        breaks = BREAK_FRAGMENT in text
        place = 0
        while place < end:
            self.result.looked_at += 1
            character = text[place]
            if character == "(" or character == "[":
                self.open_group(character, place)
                place += 1
            elif character == ")" or character == "]":
                self.close_group(ROUND if character == ")" else SQUARE, place)
                place += 1
            elif character == "\\":
                place = self.escape(place)
            elif character == ":":
                place = self.weight(place)
            else:
                match = PLAIN.match(text, place)
                after = match.end() if match else place + 1
                self.result.looked_at += after - place
                if breaks:
                    self.plain_with_breaks(place, after)
                else:
                    self.piece(place, after)
                place = after
        self.close_what_is_open()
        return self.result

    def piece(self, start: int, end: int) -> None:
        """Text, copied as it stands."""
        if start < end:
            self.result.events.append(("text", start, end))
            self.pieces += 1

    def plain_with_breaks(self, start: int, end: int) -> None:
        """Text without brackets, in which BREAK swallows the white space round it."""
        for match in BREAK.finditer(self.text, start, end):
            if match.start() < start:
                continue
            before = start + len(self.text[start : match.start()].rstrip())
            self.piece(start, before)
            white = WHITE.match(self.text, match.end(), end)
            start = white.end() if white else match.end()
            self.result.events.append(("break", match.start(), match.end()))
            if self.open[ROUND] or self.open[SQUARE]:
                self.remark("break-in-group", match.start(), match.end())
        self.piece(start, end)

    def open_group(self, bracket: str, place: int) -> None:
        """Begin a group; its weight is known when it closes."""
        group = len(self.result.groups)
        self.result.groups.append(
            Group(bracket, place, FACTOR[bracket], ORIGIN[bracket], pieces_before=self.pieces)
        )
        self.open[bracket].append(group)
        self.result.events.append(("open", group, place))
        self.colon = -1

    def close_group(self, bracket: str, place: int) -> None:
        """Close the innermost group of this kind, or take the closer as text."""
        if not self.open[bracket]:
            self.remark("stray-closer", place, place + 1, bracket=self.text[place])
            self.piece(place, place + 1)
            self.colon = -1
            return
        if bracket == ROUND and self.colon >= 0:
            self.result.looked_at += place - self.colon
            value = self.text[self.colon + 1 : place]
            if NUMBER_LIKE.match(value):
                self.remark("weight-unreadable", self.colon + 1, place, value=value.strip())
        self.pop(bracket, place)

    def pop(self, bracket: str, place: int) -> Group:
        """Take the innermost group of this kind off its stack."""
        index = self.open[bracket].pop()
        group = self.result.groups[index]
        group.closed = self.closings
        self.closings += 1
        self.result.events.append(("close", index, place))
        self.colon = -1
        other = self.open[SQUARE if bracket == ROUND else ROUND]
        if other and other[-1] > index:
            self.remark("crossed-groups", place, place + 1, bracket=self.text[place])
        if group.pieces_before == self.pieces:
            self.remark("empty-group", group.place, place + 1)
        return group

    def escape(self, place: int) -> int:
        """A backslash: the next character is text, or else the backslash itself is (A1111 drops it)."""
        following = self.text[place + 1 : place + 2]
        if following in ESCAPABLE[self.dialect] and following:
            self.piece(place + 1, place + 2)
            return place + 2
        if self.dialect == "a1111":
            self.remark("backslash-dropped", place, place + 1)
        else:
            self.piece(place, place + 1)
        return place + 1

    def weight(self, place: int) -> int:
        """A colon: the weight that closes a round group, or else text."""
        text = self.text
        number_place = WHITE.match(text, place + 1).end()  # type: ignore[union-attr]
        number = (A1111_NUMBER if self.dialect == "a1111" else ASCII_NUMBER).match(text, number_place)
        self.result.looked_at += number_place - place
        if number is None:
            return self.colon_as_text(place)
        after = number.end()
        block = None
        if self.dialect == "pw":
            block = BRACES.match(text, WHITE.match(text, after).end())  # type: ignore[union-attr]
            after = block.end() if block else after
        closer = WHITE.match(text, after).end()  # type: ignore[union-attr]
        self.result.looked_at += closer - number_place
        value = finite(number[0])
        if text[closer : closer + 1] != ")" or value is None or not self.open[ROUND]:
            return self.colon_as_text(place)
        self.warn_about_weight(place, closer, value, number[0])
        group = self.pop(ROUND, closer)
        group.factor, group.origin = value, "number"
        if block is not None:
            inside = block.start() + 1
            group.options = read_options(block[0][1:-1], inside, self.remarks, self.flow.place)
        return closer + 1

    def colon_as_text(self, place: int) -> int:
        """A colon that begins no weight."""
        self.piece(place, place + 1)
        self.colon = place
        return place + 1

    def warn_about_weight(self, place: int, closer: int, value: float, number: str) -> None:
        """Warn where a weight is far from 1, or looks like the second half of a ratio."""
        ratio = self.text[place - 1 : place] in tuple("0123456789") and number.isdecimal()
        if ratio:
            first = place
            while first > 0 and place - first < 12 and self.text[first - 1] in "0123456789.":
                first -= 1
            written = self.text[first:closer].rstrip()
            escaped = written.replace(":", "\\:", 1)
            code = "weight-ratio" if self.dialect == "pw" else "weight-ratio-fixed"
            self.remark(code, place, closer, value=written, weight=value, escaped=escaped)
        elif abs(value) > UNUSUAL_WEIGHT:
            self.remark("weight-large", place + 1, closer, weight=value)

    def close_what_is_open(self) -> None:
        """Groups that are still open end with the text: the round ones first, as A1111 does."""
        for bracket in (ROUND, SQUARE):
            for index in self.open[bracket]:
                group = self.result.groups[index]
                group.closed = self.closings
                self.closings += 1
                self.remark("unclosed-group", group.place, group.place + 1, bracket=bracket)

    def remark(self, code: str, start: int, end: int, **values: object) -> None:
        """Remark on a range of the flow."""
        self.remarks.add(code, self.flow.place(start), self.flow.place_after(end), **values)


@dataclass(slots=True)
class Stretch:
    """Neighbouring pieces of text (ranges of the flow) under one weight, or a BREAK at ``ranges[0]``."""

    ranges: list[tuple[int, int]]
    weight: float
    options: Options
    origin: str


@dataclass(slots=True)
class Enclosing:
    """What a stack of groups of one kind amounts to: product of weights, of their ends, options laid over."""

    group: Group | None = None
    weight: float = 1.0
    to: float = 1.0
    options: Options = NO_OPTIONS

    def enter(self, group: Group) -> Enclosing:
        """The same with one more group inside."""
        own = group.options
        to = own.to if own.to is not None else group.factor
        options = overlay(self.options, own) if own else self.options
        return Enclosing(group, within_reach(self.weight * group.factor), within_reach(self.to * to), options)


def overlay(outer: Options, inner: Options) -> Options:
    """The inner options, and the outer ones where the inner say nothing."""
    return Options(
        steps=outer.steps if inner.steps is None else inner.steps,
        to=outer.to if inner.to is None else inner.to,
        region=outer.region if inner.region is None else inner.region,
        mode=outer.mode if inner.mode is None else inner.mode,
    )


def stretches(found: Scan, dialect: str) -> Iterator[Stretch]:
    """Give every text its weight. ``a1111`` joins neighbours of equal weight; ``pw`` keeps groups apart."""
    stacks = {ROUND: [Enclosing()], SQUARE: [Enclosing()]}
    pending: Stretch | None = None
    current: tuple[float, Options, str] | None = None
    for kind, first, second in found.events:
        if kind == "text":
            if current is None:
                current = innermost(stacks)
            weight, options, origin = current
            if pending is not None and pending.weight == weight and pending.options == options:
                last_start, last_end = pending.ranges[-1]
                if last_end == first:
                    pending.ranges[-1] = (last_start, second)
                else:
                    pending.ranges.append((first, second))
                continue
            if pending is not None:
                yield pending
            pending = Stretch([(first, second)], weight, options, origin)
        elif kind == "break":
            if pending is not None:
                yield pending
            pending = None
            if current is None:
                current = innermost(stacks)
            yield Stretch([(first, second)], -current[0], NO_OPTIONS, "break")
        else:
            group = found.groups[first]
            if kind == "open":
                stacks[group.bracket].append(stacks[group.bracket][-1].enter(group))
            else:
                stacks[group.bracket].pop()
            current = None
            if dialect == "pw" and pending is not None:
                yield pending
                pending = None
    if pending is not None:
        yield pending


def innermost(stacks: dict[str, list[Enclosing]]) -> tuple[float, Options, str]:
    """The weight, options and origin of text inside all the open groups."""
    rounds, squares = stacks[ROUND][-1], stacks[SQUARE][-1]
    if rounds.group is None and squares.group is None:
        return 1.0, NO_OPTIONS, "none"
    if len(stacks[ROUND]) + len(stacks[SQUARE]) - 2 <= EXACT_DEPTH:
        groups = [
            enclosing.group for stack in stacks.values() for enclosing in stack if enclosing.group is not None
        ]
        groups.sort(key=lambda group: group.closed)
        weight = 1.0
        for group in groups:
            weight = within_reach(weight * group.factor)
    else:
        weight = within_reach(rounds.weight * squares.weight)
    options = rounds.options
    if options.to is not None:
        options = replace(options, to=within_reach(rounds.to * squares.weight))
    inner = max((e.group for e in (rounds, squares) if e.group is not None), key=lambda group: group.place)
    return weight, options, inner.origin


def a1111_fragments(source: str) -> list[tuple[str, float]]:
    """What A1111's ``parse_prompt_attention`` finds, in canonical form (AUTOMATIC1111/stable-diffusion-webui).

    A BREAK inside a group carries the group's weight, as it does there.
    """
    found = scan(Flow.whole(source), "a1111", Remarks())
    pieces = []
    for stretch in stretches(found, "a1111"):
        # Where BREAK's weight is no longer -1, A1111 takes it for the word, and joins it to its neighbours.
        is_break = stretch.origin == "break" and stretch.weight == -1.0
        text = "".join(source[start:end] for start, end in stretch.ranges)
        pieces.append(("break" if is_break else "text", text, stretch.weight))
    return canonical(pieces)
