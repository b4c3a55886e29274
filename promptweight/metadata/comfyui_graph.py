"""Graph of ComfyUI's nodes: links between them, switches, and evaluation without recursion.

A graph comes from a file of anyone. Functions that follow links are generators which yield the generator of
what they need, and `evaluate` runs them with a stack of its own, so that no depth exhausts Python's stack.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, NamedTuple

_MAX_NODES = 10_000
"""Nodes that are read; large workflows have about a thousand."""
_PASS_THROUGH = ("reroute", "getnode", "setnode", "any switch", "switch any", "showtext", "previewany")
_SELECTORS = (
    "select", "switch", "index", "boolean", "bool", "cond", "condition", "input", "selector", "select_index",
    "which", "selection", "value_index",
)  # fmt: skip
_TRUE_BRANCHES = ("on_true", "tt_value", "true_value", "if_true", "true", "value_if_true", "then")
_FALSE_BRANCHES = ("on_false", "ff_value", "false_value", "if_false", "false", "value_if_false", "else")
_VALUE_INPUTS = (
    "value", "seed", "int", "float", "boolean", "number", "Number", "Value", "string", "text",
)  # fmt: skip
"""Inputs that a node outputs unchanged."""
_SWITCH_KINDS = ("switch", "branch", "select", "ifelse", "if else", "condition", "choose", "multiplexer")
_NUMBERED = re.compile(r"(?P<stem>.*?)_?(?P<number>[0-9]{1,3}|(?<=_)[a-h])\Z")

Step = Generator["Step", Any, Any]
"""Evaluation of a value; it yields the evaluations that it needs and is sent their results."""


class Link(NamedTuple):
    """An output of a node: the node's name, and the number of the output."""

    node: str
    slot: int


class Node(NamedTuple):
    """A node of a graph: its name, its class in ComfyUI, and its inputs, which are values and links."""

    name: str
    kind: str
    inputs: Mapping[str, Any]

    def links(self) -> dict[str, Link]:
        """Return the inputs that are links."""
        found = {str(name): as_link(value) for name, value in self.inputs.items()}
        return {name: link for name, link in found.items() if link is not None}


class UnknownValueError(Exception):
    """A value depends on something that is not in the file.

    Attributes:
        node: the node whose output is not known; None where a link leads nowhere.
    """

    def __init__(self, node: Node | None) -> None:
        super().__init__(node)
        self.node = node


def as_link(value: object) -> Link | None:
    """Return a value as a link; None where it is not one."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int)):
        slot = value[1] if isinstance(value[1], int) else 0
        return Link(str(value[0]), slot)
    return None


class Graph:
    """The nodes of a workflow in ComfyUI's API format, by name."""

    def __init__(self, graph: Mapping[str, Any]) -> None:
        self.nodes = {
            str(name): Node(str(name), str(node.get("class_type", "")), node["inputs"])
            for name, node in list(graph.items())[:_MAX_NODES]
            if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        }

    def upstream(self, links: list[Link]) -> Iterator[Node]:
        """Yield the nodes on which links depend, the nearest first, each once."""
        queue, visited = deque(links), set()
        while queue:
            node = self.nodes.get(queue.popleft().node)
            if node is not None and node.name not in visited:
                visited.add(node.name)
                yield node
                queue += node.links().values()

    def find_value(self, links: list[Link], names: tuple[str, ...]) -> Any:
        """Return the input of one of these names that is nearest upstream and is not a link; None without."""
        for node in self.upstream(links):
            for name in names:
                value = node.inputs.get(name)
                if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                    return value
        return None


def evaluate(step: Step) -> Any:
    """Return the result of an evaluation.

    Raises:
        UnknownValueError: the value is not in the file.
    """
    stack = [step]
    result: Any = None
    error: UnknownValueError | None = None
    while stack:
        try:
            needed = stack[-1].throw(error) if error else stack[-1].send(result)
        except StopIteration as finished:
            stack.pop()
            result, error = finished.value, None
        except UnknownValueError as unknown:
            stack.pop()
            result, error = None, unknown
        else:
            stack.append(needed)
            result, error = None, None
    if error is not None:
        raise error
    return result


class Memo:
    """Results of evaluations by key; an evaluation that needs itself is an unknown value."""

    def __init__(self) -> None:
        self._results: dict[object, Any] = {}
        self._errors: dict[object, UnknownValueError] = {}
        self._running: set[object] = set()

    def run(self, key: object, node: Node, start: Callable[[], Step]) -> Step:
        """Evaluate once for each key."""
        if key in self._results:
            return self._results[key]
        if key in self._errors:
            raise self._errors[key]
        if key in self._running:
            raise UnknownValueError(node)
        self._running.add(key)
        try:
            self._results[key] = yield start()
        except UnknownValueError as error:
            self._errors[key] = error
            raise
        finally:
            self._running.discard(key)
        return self._results[key]


def read_literal(graph: Graph, value: object) -> object:
    """Return the number or text of an input, through nodes that hold a single value; None if not known."""
    for _ in range(_MAX_NODES):
        link = as_link(value)
        if link is None:
            return value
        node = graph.nodes.get(link.node)
        if node is None or "random" in node.kind.casefold():
            return None
        name = next((name for name in _VALUE_INPUTS if name in node.inputs), None)
        links = node.links()
        if name is not None:
            value = node.inputs[name]
        elif len(set(links.values())) == 1 and is_pass_through(node):
            value = [*next(iter(links.values()))]
        else:
            return None
    return None


def is_pass_through(node: Node) -> bool:
    """Return whether a node outputs its input unchanged, by its class."""
    folded = node.kind.casefold()
    return any(name in folded for name in _PASS_THROUGH)


def choose_branch(graph: Graph, node: Node) -> str | None:
    """Return the name of the input that a switch outputs; None for a node that is not a switch.

    Raises:
        UnknownValueError: the node is a switch, and its choice is not in the file.
    """
    folded = {str(name).casefold(): str(name) for name in node.inputs}
    selector = next((folded[name] for name in _SELECTORS if name in folded), None)
    true = next((folded[name] for name in _TRUE_BRANCHES if name in folded), None)
    false = next((folded[name] for name in _FALSE_BRANCHES if name in folded), None)
    numbered = numbered_inputs(node, but=selector)
    kind = node.kind.casefold()
    if "any switch" in kind and selector is None:  # rgthree's switch outputs the first connected input
        return next((name for _, name in numbered if name in node.links()), None)
    if selector is None or not (true or false or (numbered and any(word in kind for word in _SWITCH_KINDS))):
        return None
    choice = read_literal(graph, node.inputs[selector])
    if isinstance(choice, str):
        texts = {"true": True, "false": False}
        choice = texts.get(choice.casefold(), int(choice) if choice.isdecimal() else choice)
    chosen: str | None
    if isinstance(choice, bool):
        pair = (true, false) if true or false else tuple(name for _, name in numbered[:2])
        chosen = (pair[0] if choice else pair[1]) if len(pair) == 2 else None
    elif isinstance(choice, int):
        chosen = next((name for number, name in numbered if number == choice), None)
    else:
        chosen = folded.get(str(choice).casefold())
    if chosen is None:
        raise UnknownValueError(node)
    return chosen


def numbered_inputs(node: Node, but: str | None = None) -> list[tuple[int, str]]:
    """Return the largest family of inputs with numbers or letters at their end, such as `text1`, `text_b`."""
    families: dict[str, list[tuple[int, str]]] = {}
    for name in map(str, node.inputs):
        if name != but and (match := _NUMBERED.match(name)):
            mark = match["number"]
            number = int(mark) if mark.isdecimal() else ord(mark) - ord("a") + 1
            families.setdefault(match["stem"], []).append((number, name))
    largest: list[tuple[int, str]] = []
    for family in families.values():
        largest = family if len(family) > len(largest) else largest
    return sorted(largest)
