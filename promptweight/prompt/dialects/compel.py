"""Parser of the dialect `compel`: parts, blends, swaps and weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.dialects.compel_expressions import (
    Expression,
    Group,
    Joined,
    LoraTag,
    SwapExpression,
)
from promptweight.prompt.dialects.compel_grammar import Reader, pair_quotes, run_rule
from promptweight.prompt.literals import parse_finite
from promptweight.prompt.model import Lora
from promptweight.prompt.nodes import Node, Substitution, Text, Weighted
from promptweight.prompt.source_map import MappedText
from promptweight.prompt.tree import ParseTree, TreePart

TIGHT_COMMA = re.compile(r",\S")


def parse_compel(source: str) -> ParseTree:
    """Parse a prompt as compel does (damian0815/compel, `PromptParser.parse_conjunction`)."""
    parser = _CompelParser(source)
    parser.parse()
    scanned = parser.reader.scanned + 2 * len(source)
    return ParseTree(
        source, "compel", tuple(parser.parts), tuple(parser.loras), scanned=scanned, remarks=parser.remarks
    )


class _CompelParser:
    """The parts of a prompt, added from left to right."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.mapped = _space_commas(source)
        self.reader = Reader(self.mapped.text, len(self.mapped.text), pair_quotes(self.mapped.text))
        self.remarks = Remarks()
        self.parts: list[TreePart] = []
        self.loras: list[Lora] = []

    def parse(self) -> None:
        """Parse the whole source."""
        joined, leading = _find_joined(self.reader)
        if joined is None:
            expressions, _ = run_rule(self.reader.prompt(0))
            self.add_part(expressions, 0, len(self.mapped.text))
        else:
            self.add_loras(leading)
            self.add_joined(joined)
            self.add_rest(joined)
        if not self.parts:
            self.parts.append(TreePart(self.mapped, (), self.source, 1.0, 0, len(self.source)))
        self.warn_about_brackets()

    def add_joined(self, joined: Joined) -> None:
        """Add the prompts that an `.and()` or `.blend()` joins."""
        is_blend = joined.operator == ".blend"
        values = joined.values
        normalize = True
        if is_blend and values and values[-1][0] == "no_normalize":
            normalize = False
            values = values[:-1]
        weights = [parse_finite(name) for name, _ in values]
        if None in weights or (weights and len(weights) != len(joined.prompts)):
            self.remarks.add(
                "operator-counts",
                self.mapped.source_start(joined.start),
                self.mapped.source_end(joined.end),
                name=joined.operator,
                parts=len(joined.prompts),
                weights=sum(weight is not None for weight in weights),
            )
        for number, (expressions, start, end) in enumerate(joined.prompts):
            weight = weights[number] if number < len(weights) else None
            self.add_part(
                expressions,
                start,
                end,
                weight=1.0 if weight is None else weight,
                blend=0 if is_blend else None,
                normalize=normalize,
            )

    def add_rest(self, joined: Joined) -> None:
        """Add the text after the joined prompts, which compel refuses or loses."""
        expressions, _ = run_rule(self.reader.prompt(joined.end))
        if all(isinstance(expression, LoraTag) for expression in expressions):
            self.add_loras(expressions)
            return
        start = self.reader.skip(joined.end)
        end = self.mapped.source_end(len(self.mapped.text.rstrip()))
        self.remarks.add("operator-rest", self.mapped.source_start(start), end, name=joined.operator)
        self.add_part(expressions, start, len(self.mapped.text))

    def add_loras(self, expressions: Sequence[Expression]) -> None:
        """Add the networks that tags name."""
        for tag in expressions:
            if isinstance(tag, LoraTag):
                offset, end = self.mapped.source_start(tag.start), self.mapped.source_end(tag.end)
                self.loras.append(Lora(tag.name, tag.weight, offset, end))

    def add_part(
        self,
        expressions: Sequence[Expression],
        start: int,
        end: int,
        *,
        weight: float = 1.0,
        blend: int | None = None,
        normalize: bool = True,
    ) -> None:
        """Add one prompt, unless it consists of tags alone."""
        tags: list[Expression] = []
        nodes = _flatten(expressions, tags)
        self.add_loras(tags)
        if expressions and not any(isinstance(node, Text) for node in nodes):
            return
        offset = self.mapped.source_start(start)
        self.parts.append(
            TreePart(
                self.mapped,
                nodes,
                source_text=self.mapped.text[start:end],
                weight=weight,
                start=offset,
                end=self.mapped.source_end(end),
                joint=(offset, offset),
                blend=blend,
                normalize=normalize,
            )
        )

    def warn_about_brackets(self) -> None:
        """Remark on brackets and quotes that match nothing and so are text."""
        for offset, read in self.reader.brackets.items():
            if read is None:
                start = self.mapped.source_start(offset)
                self.remarks.add("unclosed-text", start, start + 1, bracket="(")
        for offset, read in self.reader.quoted.items():
            if read is None:
                start = self.mapped.source_start(offset)
                self.remarks.add("quote-unclosed", start, start + 1)


def _space_commas(source: str) -> MappedText:
    """Return the source with a space after every comma, which compel adds first."""
    texts, runs = [], []
    offset = length = 0
    for match in TIGHT_COMMA.finditer(source):
        comma = match.start() + 1
        texts.append(source[offset:comma])
        texts.append(" ")
        runs.append((length, offset, comma - offset))
        length += comma - offset + 1
        offset = comma
    texts.append(source[offset:])
    runs.append((length, offset, len(source) - offset))
    return MappedText("".join(texts), tuple(runs))


def _find_joined(reader: Reader) -> tuple[Joined | None, list[Expression]]:
    """Return the `.and()` or `.blend()` that the prompt is, and the tags before a blend."""
    joined = reader.joined(0, (".and", ".add"))
    if joined is not None:
        return joined, []
    leading: list[Expression] = []
    offset = reader.skip(0)
    while (tag := reader.lora(offset)) is not None:
        leading.append(tag)
        offset = reader.skip(tag.end)
    return reader.joined(offset, (".blend",)), leading


def _flatten(
    expressions: Sequence[Expression], tags: list[Expression], *, with_swaps: bool = True
) -> tuple[Node, ...]:
    """Return nested expressions as the nodes of a part.

    Args:
        expressions: the expressions; brackets without a weight have no node.
        tags: gets the network tags.
        with_swaps: whether swaps have a node; otherwise only their original words have.
    """
    nodes: list[Any] = []
    stack: list[tuple[Iterator[Expression], Group | SwapExpression | None, int]]
    stack = [(iter(expressions), None, -1)]
    while stack:
        rest, outer, head = stack[-1]
        for expression in rest:
            if isinstance(expression, Group):
                if expression.origin == "none":
                    stack.append((iter(expression.content), None, -1))
                else:
                    stack.append((iter(expression.content), expression, len(nodes)))
                    nodes.append(None)
                break
            if isinstance(expression, SwapExpression):
                if with_swaps:
                    stack.append((iter(expression.original), expression, len(nodes)))
                    nodes.append(None)
                else:
                    stack.append((iter(expression.original), None, -1))
                break
            if isinstance(expression, LoraTag):
                tags.append(expression)
            else:
                nodes.append(Text(expression.start, expression.end))
        else:
            stack.pop()
            stop = len(nodes)
            if isinstance(outer, Group):
                start, end, content_end = outer.start, outer.end, outer.content_end
                nodes[head] = Weighted(start, end, content_end, stop, outer.weight, outer.origin)
            elif isinstance(outer, SwapExpression):
                edited = _flatten(outer.edited, [], with_swaps=False)
                nodes[head] = Substitution(outer.start, outer.end, stop, edited, outer.options)
    return tuple(nodes)
