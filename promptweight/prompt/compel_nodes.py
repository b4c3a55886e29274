"""What compel's grammar yields: words, tags, weighted groups, swaps, joined prompts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """Text without syntax; an empty one stands for empty quotes."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LoraTag:
    """``useLora(name, weight)``."""

    name: str
    weight: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes under one weight; ``origin`` tells where it comes from, as in ``Span``."""

    weight: float
    nodes: list[Node]
    origin: str = "none"


@dataclass(frozen=True, slots=True)
class SwapNode:
    """``original.swap(edited, option=value)``."""

    original: list[Node]
    edited: list[Node]
    options: tuple[tuple[str, float | str], ...]
    start: int
    end: int


Node = Word | LoraTag | Group | SwapNode


@dataclass(frozen=True, slots=True)
class Joined:
    """``("a", "b").blend(0.3, 0.7)`` or ``.and()``: prompts, the values in the brackets, places."""

    operator: str
    prompts: list[tuple[list[Node], int, int]]
    values: list[tuple[str, float | str]]
    start: int
    end: int
