"""Parser of prompts in any dialect."""

from __future__ import annotations

from collections.abc import Callable, Collection

from promptweight.prompt.dialects.a1111 import parse_a1111
from promptweight.prompt.dialects.comfy import parse_comfy
from promptweight.prompt.dialects.compel import parse_compel
from promptweight.prompt.dialects.novelai import parse_novelai
from promptweight.prompt.garbage_collection import call_without_collection
from promptweight.prompt.model import Prompt
from promptweight.prompt.nodes import Text
from promptweight.prompt.source_map import MappedText
from promptweight.prompt.tree import ParseTree, TreePart
from promptweight.validation import check_choice


def _parse_plain(source: str) -> ParseTree:
    """Parse a prompt without syntax."""
    size = len(source)
    part = TreePart(MappedText.whole(source), (Text(0, size),), source, 1.0, 0, size)
    return ParseTree(source, "plain", (part,), scanned=size)


_PARSERS: dict[str, Callable[[str, Collection[str]], ParseTree]] = {
    "pw": lambda source, embeddings: parse_a1111(source, "pw", embeddings),
    "a1111": lambda source, embeddings: parse_a1111(source, "a1111", embeddings),
    "comfy": lambda source, _: parse_comfy(source),
    "compel": lambda source, _: parse_compel(source),
    "novelai": lambda source, _: parse_novelai(source),
    "plain": lambda source, _: _parse_plain(source),
}
DIALECTS = tuple(_PARSERS)
"""The names of the dialects that `parse` accepts."""


def check_dialect(dialect: str) -> None:
    """Raise SettingError for an unknown dialect."""
    check_choice("dialect", dialect, DIALECTS)


def parse(text: str, dialect: str = "pw", *, embeddings: Collection[str] = ()) -> ParseTree:
    """Parse a prompt into a tree. Any string has one; its oddities are in `diagnostics`.

    Time and memory grow linearly with the text.

    Args:
        text: the prompt.
        dialect: `pw` (A1111's grammar with options), `a1111`, `comfy`, `compel`,
            `novelai`, or `plain` (no syntax).
        embeddings: names of loaded textual inversions, which `pw` and `a1111` find as bare words.

    Raises:
        SettingError: for an unknown dialect.

    >>> parse("(gato:1.4{steps=0.2-0.8})").at().spans[0].options.steps
    ((0.2, 1.0), (0.8, 1.0))
    """
    if dialect not in DIALECTS:
        check_dialect(dialect)
    return call_without_collection(text, _PARSERS[dialect], text, embeddings)


def as_prompt(prompt: str | ParseTree | Prompt, dialect: str = "pw") -> Prompt:
    """Return a prompt in any form as the prompt of its first step; only text is parsed.

    Args:
        prompt: text, a parse tree, or a prompt.
        dialect: the dialect of text.

    Raises:
        SettingError: for an unknown dialect.
    """
    if isinstance(prompt, str):
        prompt = parse(prompt, dialect)
    return prompt.at() if isinstance(prompt, ParseTree) else prompt
