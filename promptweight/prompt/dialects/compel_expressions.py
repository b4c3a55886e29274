"""Expressions of compel's grammar, nested as its brackets are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Word(NamedTuple):
    """Text without syntax; an empty one represents empty quotes."""

    start: int
    end: int


class LoraTag(NamedTuple):
    """A network tag, `useLora(name, weight)`."""

    name: str
    weight: float
    start: int
    end: int


class Group(NamedTuple):
    """Expressions under one weight; `origin` is the syntax that gives it, as in `Span`."""

    start: int
    end: int
    content_end: int
    weight: float
    content: Sequence[Expression]
    origin: str = "none"


class SwapExpression(NamedTuple):
    """A swap, `original.swap(edited, options)`."""

    original: Sequence[Expression]
    edited: Sequence[Expression]
    options: tuple[tuple[str, float | str], ...]
    start: int
    end: int


Expression = Word | LoraTag | Group | SwapExpression


class Joined(NamedTuple):
    """Prompts that an operator joins, `("a", "b").operator(…)`; each is (expressions, start, end)."""

    operator: str
    prompts: list[tuple[list[Expression], int, int]]
    values: list[tuple[str, float | str]]
    start: int
    end: int
