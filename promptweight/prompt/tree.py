"""Parse tree of a prompt: its parts with their nodes, made once by the dialect's parser.

>>> from promptweight.prompt import parse
>>> tree = parse("um [gato:cão:0.5] (preto:1.2)")
>>> tree.at(step=1, steps=10).text
'um gato preto'
>>> tree.at(step=6, steps=10).text
'um cão preto'
>>> [variant.text for variant in tree.timeline(steps=10).variants]
['um gato preto', 'um cão preto']
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt.a1111_scanner import scan
from promptweight.prompt.builder import PromptBuilder
from promptweight.prompt.changes import Changes
from promptweight.prompt.compel_spans import add_compel_part
from promptweight.prompt.diagnostics import Diagnostic, Remarks
from promptweight.prompt.garbage_collection import call_without_collection
from promptweight.prompt.model import Lora, Part, Prompt
from promptweight.prompt.nodes import Node, Text, branches_at, indices_at, last_steps
from promptweight.prompt.source_map import MappedText
from promptweight.prompt.textual_inversion import note_embeddings
from promptweight.prompt.timeline import PromptTimeline, make_timeline
from promptweight.prompt.weighted_ranges import weigh_nodes

NOMINAL_STEPS = 1_000_000
"""The number of steps where only the first step matters."""


class TreePart(NamedTuple):
    """One of the prompts that `AND`, or compel's `.and()` or `.blend()`, joins; most prompts have one.

    Attributes:
        text: the text that the offsets of the nodes refer to, with its map to the source.
        nodes: the nodes in source order; see `promptweight.prompt.nodes`.
        source_text: the part's own source, at `start` to `end` of the whole.
        weight: the weight of the part as a whole.
        joint: the source range of what separates the part from the one before.
        blend: the same number for all parts of one blend; `None` elsewhere.
        normalize: whether the blend's weights are divided by their sum.
        changes: the edits and alternations as ranges of `text`; `None` without any.
        is_composed: whether an edit completes a weight or a BREAK, as in `(x:[1.2:0.8:5])`; the weights of
            such a part are those of its text at each step.
    """

    text: MappedText
    nodes: tuple[Node, ...]
    source_text: str
    weight: float
    start: int
    end: int
    joint: tuple[int, int] = (0, 0)
    blend: int | None = None
    normalize: bool = True
    changes: Changes | None = None
    is_composed: bool = False


@dataclass(frozen=True)
class ParseTree:
    """A prompt as its dialect's parser has read it.

    Attributes:
        source: the prompt as the user wrote it.
        dialect: the dialect of the source.
        parts: the parts, at least one.
        loras: the network tags, at their source offsets.
        embedding_names: names of textual inversions that count as bare words.
        scanned: the number of characters that the parser read, lookahead included.
        remarks: the remarks of the parser; `diagnostics` has them with their messages.
    """

    source: str
    dialect: str
    parts: tuple[TreePart, ...]
    loras: tuple[Lora, ...] = ()
    embedding_names: tuple[str, ...] = ()
    scanned: int = field(default=0, repr=False, compare=False)
    remarks: Remarks = field(default_factory=Remarks, repr=False, compare=False)

    @cached_property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The parser's remarks, in source order."""
        return self.remarks.diagnostics()

    @property
    def is_scheduled(self) -> bool:
        """True if the text changes during sampling."""
        return any(part.changes is not None for part in self.parts)

    def at(self, step: int = 1, steps: int | None = None) -> Prompt:
        """Return the prompt at one step of a run: flat weighted spans.

        Args:
            step: the step, counted from 1.
            steps: the number of steps of the run; without it, the first step of a long one.

        Raises:
            SettingError: if `step` or `steps` is below 1.
        """
        steps = NOMINAL_STEPS if steps is None else steps
        if step < 1 or steps < 1:
            name, count = ("step", step) if step < 1 else ("steps", steps)
            raise SettingError(message("count-minimum", name=name, count=count))
        return call_without_collection(self.source, self._make_prompt, step, steps)

    def timeline(self, steps: int | None = None) -> PromptTimeline:
        """Return the variants of the prompt in a run of `steps`, and the variants of each step.

        Prompt editing and alternation follow A1111 in the dialect `a1111`; in `pw` they are one step earlier.
        Without `steps` the text of the first step holds throughout. Parts that the model gets separately
        (AND) are variants of their own.

        Raises:
            SettingError: if `steps` is below 1.
        """
        return make_timeline(self.at(), steps)

    def last_steps(self, steps: int) -> list[int]:
        """Return the steps after which the text may change in a run of `steps`, and the last step."""
        return sorted({last for part in self.parts for last in last_steps(part.nodes, steps)})

    def branches_at(self, step: int, steps: int) -> tuple[int | None, ...]:
        """Return the index of the branch in force at a step of every edit and alternation."""
        return tuple(branch for part in self.parts for branch in branches_at(part.nodes, step, steps))

    def _make_prompt(self, step: int, steps: int) -> Prompt:
        """Return the prompt at a step."""
        builder = PromptBuilder()
        is_scheduled = False
        for number, part in enumerate(self.parts):
            is_scheduled |= part.changes is not None
            if self.dialect == "compel":
                if builder.length:
                    builder.add_joint(*part.joint, "and")
                clean_start = builder.length
                add_compel_part(builder, part.text, part.nodes)
            else:
                if number:
                    builder.add_joint(*part.joint, "and")
                clean_start = builder.length
                self._add_part(builder, part, step, steps)
            builder.parts.append(
                Part(
                    part.source_text,
                    part.weight,
                    part.start,
                    part.end,
                    clean_start,
                    builder.length,
                    part.blend,
                    part.normalize,
                )
            )
        diagnostics = self.diagnostics if self.remarks.entries else ()
        if builder.remarks.entries:
            remarks = self.remarks.copy()
            remarks.extend(builder.remarks)
            diagnostics = remarks.diagnostics()
        prompt = Prompt(
            source=self.source,
            dialect=self.dialect,
            text="".join(builder.texts),
            spans=tuple(builder.spans),
            breaks=tuple(builder.breaks),
            parts=tuple(builder.parts),
            loras=self.loras,
            swaps=tuple(builder.swaps),
            diagnostics=diagnostics,
            scheduled=is_scheduled,
            runs=tuple(builder.runs),
            tree=self,
        )
        return note_embeddings(prompt, self.embedding_names)

    def _add_part(self, builder: PromptBuilder, part: TreePart, step: int, steps: int) -> None:
        """Add the spans of a part at a step."""
        text, nodes = part.text, part.nodes
        if not nodes:
            return
        if len(nodes) == 1 and type(nodes[0]) is Text:  # the most common prompt has no syntax
            builder.add_span(text, [nodes[0]], 1.0)
            return
        indices = None
        if part.changes is not None and part.is_composed:
            text = text.select(part.changes.ranges_at(step, steps))
            nodes = scan(text, self.dialect, Remarks()).nodes
        elif part.changes is not None:
            indices = indices_at(nodes, step, steps)
        for ranges, weight, options, origin in weigh_nodes(nodes, self.dialect, indices):
            if origin == "break":
                ((start, stop),) = ranges
                builder.add_joint(text.source_start(start), text.source_end(stop), "break")
            else:
                builder.add_span(text, ranges, weight, options, origin)
