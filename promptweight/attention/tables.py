"""The words of a session's prompts, and where their tokens lie among the rows of the text embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptweight.attention.batch_rows import ROLES, Registered, Role
from promptweight.attention.control.regions import read_region
from promptweight.attention.control.rules import MODES, KeyRule, Mode
from promptweight.conditioning.compel_blend import has_blend
from promptweight.errors import AttachError, SettingError, WordNotFoundError
from promptweight.messages import note

if TYPE_CHECKING:
    from promptweight.conditioning.encoding import Encoded
    from promptweight.conditioning.token_table import TokenTable, Word


@dataclass(frozen=True)
class PlacedTable:
    """A prompt's token table, and where its rows lie among those of the text embeddings."""

    start: int
    """The row of the table's first token."""
    encoders: tuple[str, ...]
    """The text encoders that wrote these rows."""
    table: TokenTable

    def rows(self, *kinds: str) -> tuple[int, ...]:
        """The rows of the tokens of some kinds."""
        return tuple(self.start + token.position for token in self.table.tokens if token.kind in kinds)


Voice = tuple[PlacedTable, ...]
"""One text of a prompt: its token table for each text encoder that wrote rows of its own."""


def place_tables(encoded: Encoded, registered: Registered) -> dict[Role, list[Voice]]:
    """The token tables of every prompt, for each text encoder; none for negative prompts without embeddings.

    Raises:
        AttachError: tables and embeddings do not describe the same prompts.
    """
    placed: dict[Role, list[Voice]] = {"positive": [], "negative": []}
    for role, embeds in zip(ROLES, (registered.positive, registered.negative), strict=True):
        if embeds is None:
            continue
        sections = [section for section in encoded.sections if section.encoders]
        ends = [section.start + table.rows for section in sections for table in getattr(section, role)]
        prompts = {len(getattr(section, role)) for section in sections}
        if prompts != {len(embeds)} or max(ends) > embeds.shape[1]:
            raise AttachError(
                f"the {role} embeddings have shape {tuple(embeds.shape)}, but their token tables are of "
                f"{prompts} prompts and end at rows {ends}; both must describe the same prompts"
            )
        placed[role] = [
            tuple(PlacedTable(each.start, each.encoders, getattr(each, role)[number]) for each in sections)
            for number in range(len(embeds))
        ]
    return placed


def key_rules(tables: Sequence[PlacedTable], default: Mode | None) -> dict[int, KeyRule]:
    """The rules that a prompt asks for, by row of the text embeddings.

    Args:
        tables: the prompt's token tables.
        default: how weights act whose words name no mode; None when they act in the embeddings.

    Raises:
        SettingError: weights in the rows of a blend, which stand for several words each.
    """
    rules = {}
    for placed in tables:
        if default in MODES and placed.table.prompt.weighted and has_blend(placed.table):
            raise SettingError(
                note(
                    "{prompt!r} has weights that are to act in attention, where each row of a .blend() "
                    "stands for the words of all its parts; let them act in the embeddings "
                    "(space='embedding')",
                    prompt=placed.table.prompt.source,
                )
            )
        spans = placed.table.prompt.spans
        for token in placed.table.tokens:
            if token.kind != "text":
                continue
            options = spans[token.span].options
            mode = options.mode or default
            if mode in MODES and (token.weight != 1 or options.to is not None):
                region = None if options.region is None else read_region(options.region)
                rules[placed.start + token.position] = KeyRule(
                    token.weight, mode, options.steps, options.to, region
                )
    return rules


def recorded_rows(tables: Sequence[PlacedTable]) -> tuple[int, ...]:
    """The rows whose columns are recorded: beginnings and text. What is left of 1 is ends and padding."""
    return tuple(row for placed in tables for row in placed.rows("bos", "text"))


def find_rows(
    tables: Sequence[PlacedTable], phrase: str, occurrence: int = 0
) -> tuple[set[int], tuple[Word, ...]]:
    """The rows of the embeddings that stand for a phrase in any of the tables, and its words in the first.

    Raises:
        WordNotFoundError: no table holds the phrase.
    """
    rows: set[int] = set()
    found: list[tuple[Word, ...]] = []
    missing: list[WordNotFoundError] = []
    for placed in tables:
        try:
            words = placed.table.find(phrase, occurrence)
        except WordNotFoundError as error:
            missing.append(error)
            continue
        found.append(words)
        rows |= {placed.start + position for word in words for position in word.positions}
    if not found:
        raise missing[0]
    return rows, found[0]
