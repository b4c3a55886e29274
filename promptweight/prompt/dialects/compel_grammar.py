"""Grammar of compel: `word++`, `(words)1.2`, quotes, `.attend()`, `.swap()`, `.blend()`, `.and()`.

The grammar is a PEG: alternatives are tried in order, and the first match counts. The content of a bracket is
stored by offset, so that no range is read more than a few times; compel's own parser needs time exponential
in the nesting. Rules that nest are generators, driven by `run_rule`, so that nesting costs no recursion.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from promptweight.prompt.dialects.compel_expressions import (
    Expression,
    Group,
    Joined,
    LoraTag,
    SwapExpression,
    Word,
)
from promptweight.prompt.literals import clamp_weight

PLUS_BASE, MINUS_BASE = 1.1, 0.9

WHITE_CHARACTERS = " \t\n\r\x0b\x0c"
SPACE = r"[ \t\n\r\x0b\x0c]"
WHITE = re.compile(rf"{SPACE}*+")
BLACK = re.compile(r"[^ \t\n\r\x0b\x0c]++")
# Not possessive: Python before 3.11.4 ignores a lookahead in a possessive group.
WORD = re.compile(
    r"""(?:\\[()",.+=-]                          # an escaped sign
    |   [+-](?=[^ \t\n\r\x0b\x0c()",.+=-])       # a sign inside a word, as in blue-eyed
    |   [^ \t\n\r\x0b\x0c()",.+=-])+""",
    re.VERBOSE,
)
SIGNS = re.compile(r"(?P<weight>\+++|-++)")
NUMBER = r"(?>[+-]?+(?:\d++\.\d*+|\.\d++)|-?+[0-9]++)"
KEYWORD = r"[A-Za-z0-9_-]++"
WEIGHT = re.compile(rf"(?P<weight>\+++|-++|{NUMBER})")
ATTEND = re.compile(rf"{SPACE}*+\.attend{SPACE}*+\({SPACE}*+(?P<weight>(?>\+++|-++|{NUMBER})){SPACE}*+\)")
SWAP = re.compile(rf"{SPACE}*+\.swap{SPACE}*+\(")
LORA = re.compile(
    rf"(?:useLora|withLora){SPACE}*+\({SPACE}*+(?P<name>{KEYWORD}){SPACE}*+"
    rf"(?:,{SPACE}*+(?P<weight>{NUMBER}){SPACE}*+)?+\)"
)
OPTION = re.compile(
    rf"{SPACE}*+(?:(?P<key>{KEYWORD}){SPACE}*+={SPACE}*+(?:(?P<number>{NUMBER})|(?P<word>{KEYWORD}))"
    rf"|(?P<weight>{NUMBER})|(?P<flag>{KEYWORD})){SPACE}*+"
)
JOIN = re.compile(rf"{SPACE}*+\){SPACE}*+(?P<operator>\.blend|\.and|\.add){SPACE}*+\(")


Read = tuple[Expression, int] | None
"""An expression and the offset after it; `None` where the rule does not match."""
NESTED: Read = (Word(-1, -1), -1)
"""Tells that a rule is needed here instead of a plain method."""
Rule = Generator[Any, Any, Any]


def run_rule(rule: Rule) -> Any:
    """Drive a rule: it yields the rules that it calls, and gets their results back."""
    stack = [rule]
    result: Any = None
    while stack:
        try:
            called = stack[-1].send(result)
        except StopIteration as finished:
            stack.pop()
            result = finished.value
        else:
            stack.append(called)
            result = None
    return result


def _parse_weight(written: str) -> tuple[float, str]:
    """Return the weight of signs or of a number, and its origin."""
    if written[0] in "+-" and written.strip(written[0]) == "":
        base = PLUS_BASE if written[0] == "+" else MINUS_BASE
        # The power is capped: 1.1 ** 800 is beyond any use, 1.1 ** 8000 beyond a float.
        weight = clamp_weight(base ** min(len(written), 2000))
        return weight, "plus" if written[0] == "+" else "minus"
    return clamp_weight(float(written)), "number"


@dataclass
class Reader:
    """Reader of text[:end] by compel's rules; the content of quotes has a reader of its own."""

    text: str
    end: int
    quotes: dict[int, int]
    brackets: dict[int, Read] = field(default_factory=dict)
    swaps: dict[int, Read] = field(default_factory=dict)
    quoted: dict[int, Read] = field(default_factory=dict)
    scanned: int = 0

    def match(self, pattern: re.Pattern[str], offset: int) -> re.Match[str] | None:
        """Match within this reader's bounds."""
        found = pattern.match(self.text, offset, self.end)
        self.scanned += 1 if found is None else found.end() - offset + 1
        return found

    def skip(self, offset: int) -> int:
        """Return the offset after the white space at `offset`."""
        if offset < self.end and self.text[offset] not in WHITE_CHARACTERS:
            self.scanned += 1
            return offset
        found = self.match(WHITE, offset)
        return offset if found is None else found.end()

    def prompt(self, offset: int) -> Rule:
        """Read a whole prompt: operators where they match, other text up to the next white space."""
        expressions: list[Expression] = []
        offset = self.skip(offset)
        while offset < self.end:
            read = self.simple(offset)
            if read is NESTED:
                read = yield self.nested(offset)
            if read is None or isinstance(read[0], Word):
                # Without an operator, a word ends at the next white space, whatever is in it.
                free = self.match(BLACK, offset)
                after = self.end if free is None else free.end()
                read = Word(offset, after), after
            expressions.append(read[0])
            offset = self.skip(read[1])
        return expressions, offset

    def fragment(self, offset: int, commas: bool) -> Rule:
        """Read as many words and operators as match; `commas` allows `,` and `.` between them."""
        expressions: list[Expression] = []
        while True:
            start = self.skip(offset)
            if start >= self.end:
                return expressions, offset
            if self.text[start] in ",.":
                read: Read = (Word(start, start + 1), start + 1) if commas else None
            else:
                read = self.simple(start)
                if read is NESTED:
                    read = yield self.nested(start)
            if read is None:
                return expressions, offset
            expressions.append(read[0])
            offset = read[1]

    def simple(self, offset: int) -> Read:
        """Read a tag or a bare word with its sign; `NESTED` for brackets, quotes and swaps."""
        first = self.text[offset]
        if first in '("':
            return NESTED
        if first in "uw" and (lora := self.lora(offset)) is not None:
            return lora, lora.end
        word = self.match(WORD, offset)
        if word is None:
            return None
        after = word.end()
        read: Read = Word(offset, after), after
        if after < self.end:
            follows = self.text[after]
            if follows in "+-":
                return self.weighted(self.match(SIGNS, after), offset, read)
            if follows == "." or follows in WHITE_CHARACTERS:
                attend = self.match(ATTEND, after)
                if attend is not None:
                    return self.weighted(attend, offset, read)
                return NESTED if self.match(SWAP, after) is not None else read
        return read

    def nested(self, offset: int) -> Rule:
        """Read brackets, quotes, or a swapped word, with the operator that follows."""
        read: Read = yield self.target(offset)
        if read is None:
            return None
        after = read[1]
        operator = self.match(ATTEND, after)
        if operator is None and self.text[offset] in '("':
            operator = self.match(WEIGHT, after)
        if operator is not None:
            return self.weighted(operator, offset, read)
        opening = self.match(SWAP, after)
        if opening is not None:
            if offset not in self.swaps:
                self.swaps[offset] = yield self.swap(offset, read[0], opening.end())
            return self.swaps[offset] or read
        return read

    def lora(self, offset: int) -> LoraTag | None:
        """Read a network tag."""
        lora = self.match(LORA, offset)
        if lora is None:
            return None
        weight = float(lora["weight"]) if lora["weight"] else 1.0
        return LoraTag(lora["name"], weight, offset, lora.end())

    def weighted(self, operator: re.Match[str] | None, start: int, read: Read) -> Read:
        """Return the expression read at `start` under the weight of the operator."""
        if operator is None or read is None:
            return read
        weight, origin = _parse_weight(operator["weight"])
        return Group(start, operator.end(), read[1], weight, [read[0]], origin), operator.end()

    def target(self, offset: int) -> Rule:
        """Read quotes, brackets, or a bare word, which an operator can follow."""
        first = self.text[offset]
        if first == '"':
            return self.quotation(offset)
        if first == "(":
            if offset not in self.brackets:
                yield self.bracket(offset)
            return self.brackets[offset]
        word = self.match(WORD, offset)
        return None if word is None else (Word(offset, word.end()), word.end())

    def bracket(self, offset: int) -> Rule:
        """Read `(…)` and store it, since another rule may need it again."""
        self.brackets[offset] = None
        expressions, after = yield self.fragment(offset + 1, True)
        after = self.skip(after)
        if after < self.end and self.text[after] == ")":
            self.brackets[offset] = Group(offset, after + 1, after, 1.0, expressions), after + 1

    def quotation(self, offset: int) -> Read:
        """Read quotes whose whole content is a fragment."""
        if offset not in self.quoted:
            self.quoted[offset] = None
            closing = self.quotes.get(offset, self.end)
            if closing < self.end:
                inner = Reader(self.text, closing, {})
                expressions, after = run_rule(inner.fragment(offset + 1, True))
                if inner.skip(after) == closing:
                    content = expressions or [Word(closing, closing)]
                    self.quoted[offset] = Group(offset, closing + 1, closing, 1.0, content), closing + 1
                self.scanned += inner.scanned
        return self.quoted[offset]

    def swap(self, offset: int, original: Expression, opening: int) -> Rule:
        """Read the rest after `.swap(`: a replacement without commas, then options."""
        edited, after = yield self.fragment(opening, False)
        after = self.skip(after)
        options: list[tuple[str, float | str]] = []
        if after < self.end and self.text[after] == ",":
            options, after = self.options(after + 1)
            after = self.skip(after)
        if after < self.end and self.text[after] == ")":
            return SwapExpression([original], edited, tuple(options), offset, after + 1), after + 1
        return None

    def options(self, offset: int) -> tuple[list[tuple[str, float | str]], int]:
        """Read `name=value`, numbers and flags, between commas; a number or flag has no value."""
        found: list[tuple[str, float | str]] = []
        comma = offset
        while True:
            option = self.match(OPTION, comma)
            if option is None:
                return found, offset
            if option["key"] is not None:
                number = option["number"]
                found.append((option["key"], float(number) if number is not None else option["word"]))
            elif option["weight"] is not None:
                found.append((str(float(option["weight"])), ""))
            else:
                found.append((option["flag"], ""))
            offset = option.end()
            if offset >= self.end or self.text[offset] != ",":
                return found, offset
            comma = offset + 1

    def joined(self, offset: int, operators: tuple[str, ...]) -> Joined | None:
        """Read `("a", "b").operator(…)` at this offset."""
        start = self.skip(offset)
        if start >= self.end or self.text[start] != "(":
            return None
        prompts: list[tuple[list[Expression], int, int]] = []
        after = start
        while True:
            first = self.skip(after + 1)
            read: Read = run_rule(self.target(first)) if first < self.end else None
            if read is None and first < self.end and self.text[first] == '"':
                read = self.quoted_prompt(first)
            if read is None:
                return None
            prompts.append(([read[0]], first, read[1]))
            after = self.skip(read[1])
            if after >= self.end or self.text[after] != ",":
                break
        join = self.match(JOIN, after)
        if join is None or join["operator"] not in operators:
            return None
        values, after = self.options(join.end())
        after = self.skip(after)
        if after >= self.end or self.text[after] != ")":
            return None
        return Joined(join["operator"], prompts, values, start, after + 1)

    def quoted_prompt(self, offset: int) -> Read:
        """Read quotes whose content is a whole prompt, which any text is."""
        closing = self.quotes.get(offset, self.end)
        if closing >= self.end:
            return None
        inner = Reader(self.text, closing, {})
        expressions, _ = run_rule(inner.prompt(offset + 1))
        self.scanned += inner.scanned
        content = expressions or [Word(closing, closing)]
        return Group(offset, closing + 1, closing, 1.0, content), closing + 1


def pair_quotes(text: str) -> dict[int, int]:
    """Return for every quotation mark the one that closes it, on the same line, where there is one.

    A mark after a backslash closes only where no other on the line does; then the last such one closes.
    """
    closing: dict[int, int] = {}
    following = escaped = -1
    for match in re.finditer(r'["\n\r]', text[::-1]):
        offset = len(text) - 1 - match.start()
        if text[offset] != '"':
            following = escaped = -1
            continue
        if following >= 0:
            closing[offset] = following
        elif escaped >= 0:
            closing[offset] = escaped
        if text[offset - 1 : offset] != "\\":
            following = offset
        elif escaped < 0:
            escaped = offset
    return closing
