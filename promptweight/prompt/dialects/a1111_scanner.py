"""The weight grammar that ``pw`` and ``a1111`` share: ``(x)``, ``[x]``, ``(x:1.2)``, escapes and BREAK.

A text is scanned once, into events; ``products`` walks the events and gives every piece of text its weight.
Round and square groups are two stacks of their own, as in A1111: they may cross.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.literals import (
    A1111_NUMBER,
    ASCII_NUMBER,
    NUMBER_LIKE,
    UNUSUAL_WEIGHT,
    finite,
    read_options,
    read_share,
    skip_white,
)
from promptweight.prompt.model import BREAK_FRAGMENT, Options
from promptweight.prompt.source_map import Flow

TEXT, OPEN, CLOSE, BREAK = range(4)
"""Kinds of events: (TEXT, start, end), (OPEN, group, place), (CLOSE, group, place), (BREAK, start, end)."""

FACTOR = {"(": 1.1, "[": 1 / 1.1}
ORIGIN = {"(": "round", "[": "square"}
PLAIN = re.compile(r"[^()\[\]\\:]++")
BREAK_WORD = re.compile(rf"\b{BREAK_FRAGMENT}\b")
BRACES = re.compile(r"\{[^{}()\[\]]*+\}")
SHARE = re.compile(r"\s*+([^\s()\[\]\\:%]++%|[\d.][^\s()\[\]\\:%]*+)\s*+\)")
ESCAPABLE = {"pw": frozenset("()[]\\:|#"), "a1111": frozenset("()[]\\")}


@dataclass(slots=True)
class Scan:
    """What one pass over a text found; groups are numbered by their opening, their lists run side by side.

    ``closed`` counts the closings, so that it orders groups from the inside out.
    """

    events: list[tuple[int, int, int]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    brackets: list[str] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    options: dict[int, Options] = field(default_factory=dict)
    looked_at: int = 0


def scan(flow: Flow, dialect: str, remarks: Remarks) -> Scan:
    """Scan a text into events and groups."""
    scanner = Scanner(flow, dialect, remarks)
    scanner.run()
    return scanner.found


class Scanner:
    """The state of one pass, which looks at every character a bounded number of times and counts it."""

    def __init__(self, flow: Flow, dialect: str, remarks: Remarks) -> None:
        self.flow = flow
        self.text = flow.text
        self.dialect = dialect
        self.remarks = remarks
        self.found = Scan()
        self.events = self.found.events
        self.open: dict[str, list[int]] = {"(": [], "[": []}
        self.events_before: list[int] = []  # for every group, how many events there were before it
        self.closings = 0
        self.colon = -1  # the last colon since the last bracket

    def run(self) -> None:
        """Scan to the end of the text."""
        text, end, events = self.text, len(self.text), self.events
        has_breaks = BREAK_FRAGMENT in text
        plain = PLAIN.match
        place = 0
        while place < end:
            character = text[place]
            if character in "([":
                self.open_group(character, place)
                place += 1
            elif character in ")]":
                self.close_group("(" if character == ")" else "[", place)
                place += 1
            elif character == ":":
                place = self.weight(place)
            elif character == "\\":
                place = self.escape(place)
            else:
                after = plain(text, place).end()  # type: ignore[union-attr]
                if has_breaks:
                    self.plain_with_breaks(place, after)
                else:
                    events.append((TEXT, place, after))
                place = after
        self.found.looked_at += end
        self.close_what_is_open()

    def plain_with_breaks(self, start: int, end: int) -> None:
        """Text without brackets, in which BREAK swallows the white space round it."""
        for match in BREAK_WORD.finditer(self.text, start, end):
            before = start + len(self.text[start : match.start()].rstrip())
            if start < before:
                self.events.append((TEXT, start, before))
            start = min(end, skip_white(self.text, match.end()))
            self.events.append((BREAK, match.start(), match.end()))
            if self.open["("] or self.open["["]:
                self.remark("break-in-group", match.start(), match.end())
        if start < end:
            self.events.append((TEXT, start, end))

    def open_group(self, bracket: str, place: int) -> None:
        """Begin a group; its weight is known when it closes."""
        found = self.found
        group = len(found.places)
        found.places.append(place)
        found.brackets.append(bracket)
        found.factors.append(FACTOR[bracket])
        found.origins.append(ORIGIN[bracket])
        found.closed.append(-1)
        self.events_before.append(len(self.events))
        self.open[bracket].append(group)
        self.events.append((OPEN, group, place))
        self.colon = -1

    def close_group(self, bracket: str, place: int) -> None:
        """Close the innermost group of this kind, or take the closer as text."""
        if not self.open[bracket]:
            self.remark("stray-closer", place, place + 1, bracket=self.text[place])
            self.events.append((TEXT, place, place + 1))
            self.colon = -1
            return
        if bracket == "(" and self.colon >= 0:
            self.found.looked_at += place - self.colon
            value = self.text[self.colon + 1 : place]
            if NUMBER_LIKE.match(value):
                self.remark("weight-unreadable", self.colon + 1, place, value=value.strip())
        self.pop(bracket, place)

    def pop(self, bracket: str, place: int) -> int:
        """Take the innermost group of this kind off its stack."""
        group = self.open[bracket].pop()
        self.found.closed[group] = self.closings
        self.closings += 1
        self.colon = -1
        other = self.open["[" if bracket == "(" else "("]
        if other and other[-1] > group:
            self.remark("crossed-groups", place, place + 1, bracket=self.text[place])
        if self.events_before[group] == len(self.events) - 1:
            self.remark("empty-group", self.found.places[group], place + 1)
        self.events.append((CLOSE, group, place))
        return group

    def escape(self, place: int) -> int:
        """A backslash: the next character is text, or else the backslash itself is (A1111 drops it)."""
        following = self.text[place + 1 : place + 2]
        if following and following in ESCAPABLE[self.dialect]:
            self.events.append((TEXT, place + 1, place + 2))
            return place + 2
        if self.dialect == "a1111":
            self.remark("backslash-dropped", place, place + 1)
        else:
            self.events.append((TEXT, place, place + 1))
        return place + 1

    def weight(self, place: int) -> int:
        """A colon: the weight that closes a round group, or else text."""
        text = self.text
        number_place = skip_white(text, place + 1)
        if self.dialect == "pw" and text[number_place : number_place + 1] == "=":
            return self.share(place, number_place + 1)
        number = (A1111_NUMBER if self.dialect == "a1111" else ASCII_NUMBER).match(text, number_place)
        if number is None:
            self.found.looked_at += number_place - place
            return self.colon_as_text(place)
        after = number.end()
        block = None
        if self.dialect == "pw":
            block = BRACES.match(text, skip_white(text, after))
            after = block.end() if block else after
        closer = skip_white(text, after)
        self.found.looked_at += closer - place
        value = finite(number[0])
        if text[closer : closer + 1] != ")" or value is None or not self.open["("]:
            return self.colon_as_text(place)
        self.warn_about_weight(place, closer, value, number[0])
        group = self.pop("(", closer)
        self.found.factors[group] = value
        self.found.origins[group] = "number"
        if block is not None:
            options = read_options(block[0][1:-1], block.start() + 1, self.remarks, self.flow.place)
            if options:
                self.found.options[group] = options
        return closer + 1

    def share(self, place: int, after_sign: int) -> int:
        """``:=``, at ``place``: the share of the picture that closes a round group, or else text."""
        text = self.text
        match = SHARE.match(text, after_sign)
        self.found.looked_at += (after_sign if match is None else match.end()) - place
        if match is None or not self.open["("]:
            return self.colon_as_text(place)
        share = read_share(match[1]) if match[1].endswith("%") else None
        closer = match.end() - 1
        if share is None:
            self.remark("share-unreadable", place + 1, closer, value=match[1])
            return self.colon_as_text(place)
        group = self.pop("(", closer)
        self.found.factors[group] = 1.0
        self.found.origins[group] = "number"
        self.found.options[group] = Options(share=share)
        return closer + 1

    def colon_as_text(self, place: int) -> int:
        """A colon that begins no weight."""
        self.events.append((TEXT, place, place + 1))
        self.colon = place
        return place + 1

    def warn_about_weight(self, place: int, closer: int, value: float, number: str) -> None:
        """Warn where a weight is far from 1, or looks like the second half of a ratio."""
        if number.isdecimal() and self.text[place - 1] in "0123456789":
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
        """Group that are still open end with the text: the round ones first, as A1111 does."""
        for bracket, groups in self.open.items():
            for group in groups:
                self.found.closed[group] = self.closings
                self.closings += 1
                place = self.found.places[group]
                self.remark("unclosed-group", place, place + 1, bracket=bracket)

    def remark(self, code: str, start: int, end: int, **values: object) -> None:
        """Remark on a range of the flow."""
        if self.remarks.wants_more():
            self.remarks.add(code, self.flow.place(start), self.flow.place_after(end), **values)
