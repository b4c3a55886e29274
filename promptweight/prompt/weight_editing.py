"""Weight editing: weights in the text of a prompt changed in place, from its parse tree."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt.literals import clamp_weight, parse_finite
from promptweight.prompt.model import Lora, Prompt
from promptweight.prompt.nodes import Weighted
from promptweight.prompt.parser import parse
from promptweight.prompt.segments import Segment, SegmentPart
from promptweight.prompt.tree import ParseTree
from promptweight.prompt.words import fold, split_words
from promptweight.prompt.writers import write_novelai

WORD_ENDS = frozenset('.,/\\!?%^*;:{}=`~()[]<>|"')
KEYWORDS = ("BREAK", "AND")
EPSILON = 1e-6
TRIAL_STEPS = 12
"""The number of steps at which the text is compared before and after a change."""


@dataclass(frozen=True, slots=True)
class _Target:
    """The text whose weight changes: the content text[start:end], inside text[first:last]."""

    first: int
    start: int
    end: int
    last: int
    weight: float
    suffix: str = ")"
    options: str = ""


@dataclass(frozen=True, slots=True)
class _Group:
    """A closed group in the source: text[start:end] with brackets; the content ends at `content_end`."""

    start: int
    content_end: int
    end: int
    node: Weighted


def adjust_weight(text: str, start: int, end: int, step: float = 0.1) -> tuple[str, int, int]:
    """Add `step` to the weight of the selection text[start:end], in the dialect `pw`.

    An empty selection means the brackets or the tag around the caret, or else the word under it. Bare
    `((x))` becomes a number first. A weight that reaches 1 loses its brackets, unless it has options. A
    selection without text, or one that cuts through brackets or other syntax, changes nothing: the clean text
    stays the same.

    Returns:
        The new text, and the start and end of the content in it, so that the next call goes on from there.

    Raises:
        SettingError: if the size of `step` is not from 1e-6 to 1e6.

    >>> adjust_weight("um gato", 5, 5)
    ('um (gato:1.1)', 4, 8)
    >>> adjust_weight("um (gato:1.1)", 4, 8, -0.1)
    ('um gato', 3, 7)
    """
    if not 1e-6 <= abs(step) <= 1e6:
        raise SettingError(message("weight-step", step=step))
    start, end = sorted((max(0, min(start, len(text))), max(0, min(end, len(text)))))
    tree = parse(text)
    target = _find_target(tree, start, end, step)
    if target is None:
        return text, start, end
    content = text[target.start : target.end]
    weight = round(clamp_weight(target.weight + step), 6) + 0.0
    if weight == 1 and target.suffix == ")" and not target.options:
        written, offset = content, 0
    else:
        opening = "(" if target.suffix == ")" else text[target.first : target.start]
        written = f"{opening}{content}:{_format_short(weight)}{target.options}{target.suffix}"
        offset = len(opening)
    changed = text[: target.first] + written + text[target.last :]
    if _texts(parse(changed)) != _texts(tree):
        return text, start, end
    new_start = target.first + offset
    return changed, new_start, new_start + len(content)


def _texts(tree: ParseTree) -> list[str]:
    """Return the clean texts of a tree during sampling."""
    return [tree.at(step, TRIAL_STEPS).text for step in tree.last_steps(TRIAL_STEPS)]


def _format_short(weight: float) -> str:
    """Return a weight with at least one decimal: 1.2, 2.0."""
    written = f"{weight:.6f}".rstrip("0")
    return f"{written}0" if written.endswith(".") else written


def _find_target(tree: ParseTree, start: int, end: int, step: float) -> _Target | None:
    """Return the text that a selection means."""
    text = tree.source
    for lora in tree.loras:
        if lora.start < start <= end < lora.end or (lora.start, lora.end) == (start, end):
            return _tag_target(text, lora)
    groups = {group.start: group for group in _closed_groups(tree)}
    if start == end:
        around = [group for group in groups.values() if group.start < start < group.end]
        if around:
            return _group_target(text, groups, max(around, key=lambda group: group.start), step)
        start, end = _word_at(text, start)
    else:
        start, end = _trim(text, start, end)
        selected = groups.get(start)
        if selected is not None and selected.end == end:
            return _group_target(text, groups, selected, step)
        if start - 1 in groups:
            target = _group_target(text, groups, groups[start - 1], step)
            if target is not None and (target.start, target.end) == (start, end):
                return target
        if any((start <= each.start < end) != (start < each.end <= end) for each in groups.values()):
            return None
    if start == end or text[start:end] in KEYWORDS:
        return None
    return _Target(start, start, end, end, 1.0)


def _closed_groups(tree: ParseTree) -> Iterator[_Group]:
    """Yield the groups that a bracket or sign closes."""
    for part in tree.parts:
        for node in part.nodes:
            if isinstance(node, Weighted) and node.content_end < node.end:
                yield _Group(
                    part.text.source_start(node.start),
                    part.text.source_start(node.content_end),
                    part.text.source_end(node.end),
                    node,
                )


def _tag_target(text: str, lora: Lora) -> _Target | None:
    """Return the target of a network tag, whose second value is the weight."""
    kind, _, content = text[lora.start + 1 : lora.end - 1].partition(":")
    name, separator, rest = content.partition(":")
    value, colon, others = rest.partition(":")
    weight = parse_finite(value) if separator else 1.0
    if weight is None:
        return None
    start = lora.start + len(kind) + 2
    return _Target(lora.start, start, start + len(name), lora.end, weight, f"{colon}{others}>")


def _group_target(text: str, groups: dict[int, _Group], group: _Group, step: float) -> _Target | None:
    """Return a group with its number, or bare brackets, all concentric ones together."""
    if group.node.origin == "number":
        number, brace, options = text[group.content_end + 1 : group.end - 1].partition("{")
        if number.lstrip().startswith("="):
            return None  # a share gets whatever weight it needs
        return _Target(
            group.start,
            group.start + 1,
            group.content_end,
            group.end,
            group.node.weight,
            options=(brace + options).rstrip(),
        )
    origin = group.node.origin
    first, last, count = group.start, group.end, 1
    while _is_bare(groups.get(first - 1), origin, last + 1):
        first, last, count = first - 1, last + 1, count + 1
    start, end = group.start + 1, group.end - 1
    while _is_bare(groups.get(start), origin, end):
        start, end, count = start + 1, end - 1, count + 1
    weight = clamp_weight(group.node.weight ** min(count, 500))
    nearest = round(weight / abs(step)) * abs(step)
    return _Target(first, start, end, last, nearest) if start < end else None


def _is_bare(group: _Group | None, origin: str, end: int) -> bool:
    """Return whether this is a group without a number, of this origin and end."""
    return group is not None and group.node.origin == origin and group.end == end


def _word_at(text: str, caret: int) -> tuple[int, int]:
    """Return the range of the word at the caret."""
    start = end = caret
    while start > 0 and not (text[start - 1].isspace() or text[start - 1] in WORD_ENDS):
        start -= 1
    while end < len(text) and not (text[end].isspace() or text[end] in WORD_ENDS):
        end += 1
    return start, end


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the selection without the white space at its ends."""
    selected = text[start:end]
    return start + len(selected) - len(selected.lstrip()), end - len(selected) + len(selected.rstrip())


def find_phrase(prompt: Prompt, phrase: str) -> list[tuple[int, int]]:
    """Return the ranges of a phrase in the clean text of a prompt, as whole words, whatever their case."""
    sought = [fold(phrase[word.start : word.end]) for word in split_words(phrase)]
    words = split_words(prompt.text, prompt.breaks)
    folded = [fold(prompt.text[word.start : word.end]) for word in words]
    return [
        (words[at].start, words[at + len(sought) - 1].end)
        for at in range(len(folded) - len(sought) + 1)
        if sought and folded[at : at + len(sought)] == sought
    ]


def set_weight(text: str, phrase: str, weight: float, dialect: str) -> str:
    """Return a prompt in which every occurrence of a phrase has exactly this weight.

    Brackets around the phrase alone get the new number; a phrase inside larger brackets gets brackets of its
    own that compensate for the larger ones.

    Raises:
        SettingError: if brackets divide the phrase, a weight of 0 encloses it, or the dialect has no such
            weight.

    >>> set_weight("um (gato:1.2) e (outro gato)", "gato", 0.55, "pw")
    'um (gato:0.55) e (outro (gato:0.5))'
    """
    return reweight(parse(text, dialect).at(), phrase, weight).source


def reweight(prompt: Prompt, phrase: str, weight: float) -> Prompt:
    """Return a parsed prompt with the weight of a phrase set as in `set_weight`.

    Raises:
        SettingError: as `set_weight` raises it.
    """
    tree, text, dialect = prompt.tree, prompt.source, prompt.dialect
    assert isinstance(tree, ParseTree)
    if dialect == "novelai":
        return _reweight_novelai(prompt, phrase, weight)
    changed: list[str] = []
    offset = 0
    tolerance = 1e-6
    for clean_start, clean_end in find_phrase(prompt, phrase):
        start, end = prompt.to_source(clean_start), prompt.to_source(clean_end - 1) + 1
        if start < offset:
            continue  # an occurrence that overlaps the one before
        target = _find_compel_target(tree, start, end) if dialect == "compel" else None
        target = target or _find_target(tree, start, end, EPSILON)
        if target is None:
            raise SettingError(message("weight-cut-by-brackets", phrase=text[start:end], text=text))
        around = _enclosing_weight(tree, target)
        if around == 0:
            raise SettingError(message("weight-inside-zero", phrase=phrase, text=text))
        changed += [text[offset : target.first], _write_target(text, target, weight / around, dialect)]
        offset = target.last
        tolerance = max(tolerance, 1e-6 * abs(around))
    written = "".join([*changed, text[offset:]])
    after = parse(written, dialect).at()
    found = [_weight_at(after, start) for start, _ in find_phrase(after, phrase)]
    if any(abs(each - weight) > tolerance for each in found):
        raise SettingError(message("weight-cut-by-brackets", phrase=phrase, text=text))
    return after


def _reweight_novelai(prompt: Prompt, phrase: str, weight: float) -> Prompt:
    """Return a prompt of NovelAI with the weight of a phrase set: its marks have no nesting to keep."""
    found = find_phrase(prompt, phrase)
    if not found:
        return prompt
    bounds = {0, len(prompt.text), *(offset for each in found for offset in each)}
    bounds |= {span.clean_start for span in prompt.spans}
    starts = dict(found)
    segments: list[Segment] = []
    end = 0  # of the last occurrence
    for first, last in pairwise(sorted(bounds)):
        end = max(end, starts.get(first, 0))
        own = weight if first < end else _weight_at(prompt, first)
        segments.append(Segment("text", prompt.text[first:last], own))
    written, losses = write_novelai([SegmentPart(1.0, segments=segments)], ())
    after = parse(written, "novelai").at()
    if losses or after.text != prompt.text:
        raise SettingError(message("weight-cut-by-brackets", phrase=phrase, text=prompt.source))
    return after


def _find_compel_target(tree: ParseTree, start: int, end: int) -> _Target | None:
    """Return the innermost group of compel around exactly text[start:end]."""
    text = tree.source
    found = None
    for group in _closed_groups(tree):
        content = text[group.start : group.content_end].strip('(") ')
        if group.start <= start and end <= group.content_end and content == text[start:end]:
            found = _Target(group.start, start, end, group.end, group.node.weight)
    return found


def _enclosing_weight(tree: ParseTree, target: _Target) -> float:
    """Return the product of the weights of the groups around a target, without its own brackets."""
    if tree.dialect == "comfy":
        return 1.0  # a number replaces them
    product = 1.0
    for part in tree.parts:
        for node in part.nodes:
            if isinstance(node, Weighted):
                start, end = part.text.source_start(node.start), part.text.source_end(node.end)
                is_own = target.first <= start and end <= target.last
                if start <= target.first and target.last <= end and not is_own:
                    product = clamp_weight(product * node.weight)
    return product


def _write_target(text: str, target: _Target, weight: float, dialect: str) -> str:
    """Return the content of a target in brackets with this weight, or alone where it needs none."""
    content = text[target.start : target.end]
    number = f"{weight:.6f}".rstrip("0").removesuffix(".")
    if dialect == "compel":
        return f"({content}){number}"
    if number == "1" and not target.options and dialect != "comfy":
        return content
    return f"({content}:{number}{target.options})"


def _weight_at(prompt: Prompt, offset: int) -> float:
    """Return the weight of the character at an offset of the clean text."""
    starts = [span.clean_start for span in prompt.spans]
    return prompt.spans[max(0, bisect_right(starts, offset) - 1)].weight
