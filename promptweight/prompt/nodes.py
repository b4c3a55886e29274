"""Nodes of the parse tree.

The nodes of a part lie in one flat tuple in source order (preorder). A node with content holds `stop`, the
index after its last descendant, so that `nodes[index + 1 : nodes[index].stop]` is its content. No operation
recurses, whatever the depth, and A1111's round and square groups may cross, which nested objects cannot.

`start` and `end` are offsets in the text of the part (`TreePart.text`), which maps them to the source.

>>> from promptweight.prompt import parse
>>> for node in parse("um (gato:1.4) [preto|branco]").parts[0].nodes:
...     print(type(node).__name__, node.start, node.end)
Text 0 3
Weighted 3 13
Text 4 8
Text 13 14
Alternate 14 28
Text 15 20
Text 21 27
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from promptweight.prompt.model import NO_OPTIONS, Options


class Text(NamedTuple):
    """A range of text without syntax."""

    start: int
    end: int


class Break(NamedTuple):
    """The keyword BREAK, which begins a new chunk."""

    start: int
    end: int


class Weighted(NamedTuple):
    """A group under one weight.

    Attributes:
        start, end: the range with brackets, number and options.
        content_end: the end of the content; equal to `end` where no bracket closes the group.
        stop: the index after the last node of the content.
        weight: the group's own factor; in `comfy` an explicit number replaces the enclosing weight.
        origin: the syntax that gives the weight, as in `Span`.
        closing_order: the position of the group among all groups of the part, in order of their closing.
        options: the options in the braces after the number.
    """

    start: int
    end: int
    content_end: int
    stop: int
    weight: float
    origin: str
    closing_order: int = 0
    options: Options = NO_OPTIONS


class Edit(NamedTuple):
    """Prompt editing, `[from:to:when]`, `[to:when]` or `[from::when]`.

    Attributes:
        start, end: the range with brackets.
        separators: offsets of the colons.
        when: the step as the prompt has it; a number with a point is a fraction of all steps.
        branches: for every branch the index of its first node, then `stop`.
        stop: the index after the last node of the last branch.
    """

    start: int
    end: int
    separators: tuple[int, ...]
    when: str
    branches: tuple[int, ...]
    stop: int

    def branch_at(self, step: int, steps: int) -> int | None:
        """Return the index of the branch in force at a step, counted from 1; `None` for no text."""
        has_two_texts = len(self.separators) == 2
        if step > last_step_before(self.when, steps):
            return len(self.separators) - 1
        return 0 if has_two_texts else None


class Alternate(NamedTuple):
    """Alternation, `[a|b|…]`, whose branches take turns from step to step."""

    start: int
    end: int
    separators: tuple[int, ...]
    branches: tuple[int, ...]
    stop: int

    def branch_at(self, step: int, steps: int) -> int | None:  # noqa: ARG002 — the signature of Edit's
        """Return the index of the branch in force at a step, counted from 1."""
        return (step - 1) % (len(self.separators) + 1)


class Substitution(NamedTuple):
    """compel's `a.swap(b)`: the content is a; `edited` holds the nodes of b."""

    start: int
    end: int
    stop: int
    edited: tuple[Node, ...]
    options: tuple[tuple[str, float | str], ...]


Node = Text | Break | Weighted | Edit | Alternate | Substitution

new_node = tuple.__new__
"""Constructor for the parsers' inner loops: `new_node(Text, (0, 3))` is faster than `Text(0, 3)`."""


def last_step_before(
    when: str, steps: int, first_pass_steps: int | None = None, old_scheduling: bool = False
) -> int:
    """Return the last step that has the text before an edit, at most `steps`; below 1 for none.

    Args:
        when: a number with a point is a fraction of `steps`; any other counts steps.
        steps: the number of steps of the run.
        first_pass_steps: in a second pass, the number of steps of the first: counting goes on from there.
        old_scheduling: every number below 1 is a fraction, every other one counts steps.
    """
    value = float(when)
    if old_scheduling:
        value = value * steps if value < 1 else value
    elif "." in when:
        value = (value - (0.0 if first_pass_steps is None else 1.0)) * steps
    else:
        value -= first_pass_steps or 0
    return int(max(-1.0, min(float(steps), value)))


def indices_at(nodes: Sequence[Node], step: int, steps: int) -> list[int]:
    """Return the indices of the nodes in force at a step, without the edits and alternations themselves."""
    indices: list[int] = []
    open_edits: list[tuple[int, int]] = []  # (index after the branch in force, index after the edit)
    index = 0
    branch_end = -1
    while index < len(nodes):
        if index == branch_end:
            index = open_edits.pop()[1]
            branch_end = open_edits[-1][0] if open_edits else -1
            continue
        node = nodes[index]
        if type(node) is Edit or type(node) is Alternate:
            branch = node.branch_at(step, steps)
            if branch is None:
                index = node.stop
            else:
                branch_end = node.branches[branch + 1]
                open_edits.append((branch_end, node.stop))
                index = node.branches[branch]
            continue
        indices.append(index)
        index += 1
    return indices


def branches_at(nodes: Sequence[Node], step: int, steps: int) -> list[int | None]:
    """Return the index of the branch in force at a step of every edit and alternation among the nodes."""
    return [node.branch_at(step, steps) for node in nodes if type(node) is Edit or type(node) is Alternate]


def last_steps(nodes: Sequence[Node], steps: int) -> set[int]:
    """Return the steps after which the text may change in a run of `steps`, and the last step."""
    found = {steps}
    for node in nodes:
        if isinstance(node, Alternate):
            return set(range(1, steps + 1))
        if isinstance(node, Edit) and (last := last_step_before(node.when, steps)) >= 1:
            found.add(last)
    return found
