"""``nudge``: what Ctrl+Up and Ctrl+Down do to the selection in a prompt box."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt import Prompt, parse
from promptweight.prompt.dialects.a1111_scanner import BRACES, SHARE
from promptweight.prompt.dialects.tags_and_comments import find_tags
from promptweight.prompt.literals import ASCII_NUMBER, finite, skip_white, within_reach
from promptweight.prompt.prompt_editing import find_changes
from promptweight.prompt.words import fold, split_words

BRACKETS = re.compile(r"\\.|[()\[\]]", re.DOTALL)
PARTNER = {"(": ")", "[": "]"}
WORD_ENDS = frozenset('.,/\\!?%^*;:{}=`~()[]<>|"')
KEYWORDS = ("BREAK", "AND")


@dataclass(frozen=True, slots=True)
class Target:
    """What is nudged: the content text[start:end], inside text[first:last], at a weight; options are kept."""

    first: int
    start: int
    end: int
    last: int
    weight: float
    suffix: str = ")"
    options: str = ""


def nudge(text: str, start: int, end: int, step: float = 0.1) -> tuple[str, int, int]:
    """Add ``step`` to the weight of the selection text[start:end]; gives the new text and selection.

    With nothing selected, the brackets or the tag round the caret are meant, or else the word under it. A
    bare ``((x))`` becomes a number first. A weight that reaches 1 loses its brackets, unless it carries
    options. The selection returned is the content, so that nudging again goes on. Where there is nothing to
    weigh, nothing changes; neither does it for a selection that cuts through brackets. Raises SettingError
    for a step of 0 or beyond reason.

        >>> nudge("um gato", 5, 5)
        ('um (gato:1.1)', 4, 8)
        >>> nudge("um (gato:1.1)", 4, 8, -0.1)
        ('um gato', 3, 7)
    """
    if not 1e-6 <= abs(step) <= 1e6:
        raise SettingError(f"step={step} moves no weight; its size must be from 1e-6 to 1e6, such as 0.1")
    start, end = sorted((max(0, min(start, len(text))), max(0, min(end, len(text)))))
    target = find_target(text, start, end, step)
    if target is None:
        return text, start, end
    content = text[target.start : target.end]
    weight = round(within_reach(target.weight + step), 6) + 0.0
    if weight == 1 and target.suffix == ")" and not target.options:
        written, offset = content, 0
    else:
        opening = "(" if target.suffix == ")" else text[target.first : target.start]
        written = f"{opening}{content}:{shown(weight)}{target.options}{target.suffix}"
        offset = len(opening)
    new_start = target.first + offset
    return text[: target.first] + written + text[target.last :], new_start, new_start + len(content)


def shown(weight: float) -> str:
    """A weight as a person writes it: 1.2, 2.0."""
    written = f"{weight:.6f}".rstrip("0")
    return f"{written}0" if written.endswith(".") else written


def find_target(text: str, start: int, end: int, step: float) -> Target | None:
    """What the selection means."""
    for match in find_tags(text):
        if match.start() < start <= end < match.end() or (match.start(), match.end()) == (start, end):
            return tag_target(match)
    pairs = bracket_pairs(text)
    if start == end:
        group = enclosing(pairs, start)
        if group is not None:
            return group_target(text, pairs, *group, step)
        start, end = word_at(text, start)
    else:
        start, end = trimmed(text, start, end)
        if pairs.get(start) == end - 1:
            return group_target(text, pairs, start, end - 1, step)
        if start - 1 in pairs:
            target = group_target(text, pairs, start - 1, pairs[start - 1], step)
            if target is not None and (target.start, target.end) == (start, end):
                return target
        if any((start <= opening < end) != (start <= closing < end) for opening, closing in pairs.items()):
            return None
    if start == end or text[start:end] in KEYWORDS:
        return None
    return Target(start, start, end, end, 1.0)


def tag_target(match: re.Match[str]) -> Target | None:
    """A network tag: its second value is the weight."""
    name, separator, rest = match[2].partition(":")
    value, colon, others = rest.partition(":")
    weight = finite(value) if separator else 1.0
    if weight is None:
        return None
    start = match.start(2)
    return Target(match.start(), start, start + len(name), match.end(), weight, f"{colon}{others}>")


def bracket_pairs(text: str) -> dict[int, int]:
    """Opening to closing places of the brackets that carry weights; prompt editing is none."""
    changes = {change.start for change in find_changes(text, "pw").found}
    opened: dict[str, list[int]] = {")": [], "]": []}
    pairs: dict[int, int] = {}
    for match in BRACKETS.finditer(text):
        mark = match[0]
        if mark in PARTNER:
            opened[PARTNER[mark]].append(match.start())
        elif opened.get(mark):
            opening = opened[mark].pop()
            if opening not in changes:
                pairs[opening] = match.start()
    return pairs


def enclosing(pairs: dict[int, int], caret: int) -> tuple[int, int] | None:
    """The innermost brackets round the caret."""
    around = [(opening, closing) for opening, closing in pairs.items() if opening < caret <= closing]
    return max(around, default=None)


def group_target(text: str, pairs: dict[int, int], opening: int, closing: int, step: float) -> Target | None:
    """A group with its number, or bare brackets, all concentric ones together."""
    if text[opening] == "(":
        colon = text.rfind(":", opening, closing)
        number_place = skip_white(text, colon + 1)
        if text[number_place : number_place + 1] == "=" and SHARE.match(text, number_place + 1):
            return None  # a share of the picture takes whatever weight it needs
        number = ASCII_NUMBER.match(text, number_place, closing) if colon >= 0 else None
        if number is not None and (weight := finite(number[0])) is not None:
            block = BRACES.match(text, number.end(), closing)
            after = block.end() if block else number.end()
            if not text[after:closing].strip():
                return Target(
                    opening, opening + 1, colon, closing + 1, weight, options=block[0] if block else ""
                )
    first, last, count = opening, closing, 1
    while pairs.get(first - 1) == last + 1 and text[first - 1] == text[opening]:
        first, last, count = first - 1, last + 1, count + 1
    start, end = opening + 1, closing
    while pairs.get(start) == end - 1 and text[start] == text[opening]:
        start, end, count = start + 1, end - 1, count + 1
    factor = 1.1 if text[opening] == "(" else 1 / 1.1
    weight = within_reach(factor ** min(count, 500))
    nearest = round(weight / abs(step)) * abs(step)
    return Target(first, start, end, last + 1, nearest) if start < end else None


def word_at(text: str, caret: int) -> tuple[int, int]:
    """The word that the caret is in or touches."""
    start = end = caret
    while start > 0 and not (text[start - 1].isspace() or text[start - 1] in WORD_ENDS):
        start -= 1
    while end < len(text) and not (text[end].isspace() or text[end] in WORD_ENDS):
        end += 1
    return start, end


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The selection without the white space at its ends."""
    selected = text[start:end]
    return start + len(selected) - len(selected.lstrip()), end - len(selected) + len(selected.rstrip())


_FINE = 1e-6


def places(prompt: Prompt, phrase: str) -> list[tuple[int, int]]:
    """Return where a phrase stands in the clean text of a prompt, as words, whatever their case."""
    sought = [fold(phrase[word.start : word.end]) for word in split_words(phrase)]
    words = split_words(prompt.text, prompt.breaks)
    folded = [fold(prompt.text[word.start : word.end]) for word in words]
    return [
        (words[at].start, words[at + len(sought) - 1].end)
        for at in range(len(folded) - len(sought) + 1)
        if sought and folded[at : at + len(sought)] == sought
    ]


def with_weight(text: str, phrase: str, weight: float, dialect: str) -> str:
    """Return a prompt in which every occurrence of a phrase has exactly this weight.

    Brackets round the phrase alone get the new number; a phrase inside larger brackets gets brackets of its
    own that make up for theirs.

    >>> with_weight("um (gato:1.2) e (outro gato)", "gato", 0.55, "pw")
    'um (gato:0.55) e (outro (gato:0.5))'
    """
    for number in range(len(places(parse(text, dialect), phrase))):
        prompt = parse(text, dialect)
        found = places(prompt, phrase)
        if number >= len(found):
            break
        plain = _with_own_weight(text, prompt, found[number], 1.0)
        around = _weight_at(parse(plain, dialect), found[number][0])
        if around == 0:
            raise SettingError(
                message(
                    "weight-inside-zero",
                    phrase=phrase,
                    text=text,
                )
            )
        text = _with_own_weight(text, prompt, found[number], weight / around)
    return text


def _with_own_weight(text: str, prompt: Prompt, place: tuple[int, int], weight: float) -> str:
    """Return `text` with another number on the brackets round one place, or with brackets of its own."""
    start, end = prompt.to_source(place[0]), prompt.to_source(place[1] - 1) + 1
    target = find_target(text, start, end, _FINE)
    if target is None:
        raise SettingError(
            message(
                "weight-cut-by-brackets",
                phrase=text[start:end],
                text=text,
            )
        )
    content = text[target.start : target.end]
    opening = "(" if target.suffix == ")" else text[target.first : target.start]
    number = f"{weight:.6f}".rstrip("0").removesuffix(".")
    keeps_brackets = number != "1" or target.suffix != ")" or target.options
    written = f"{opening}{content}:{number}{target.options}{target.suffix}" if keeps_brackets else content
    return text[: target.first] + written + text[target.last :]


def _weight_at(prompt: Prompt, place: int) -> float:
    starts: Sequence[int] = [span.clean_start for span in prompt.spans]
    return prompt.spans[max(0, bisect_right(starts, place) - 1)].weight
