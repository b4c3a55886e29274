"""The dialects by name, and ``parse``, which reads any of them."""

from __future__ import annotations

from collections.abc import Callable, Collection

from promptweight.errors import SettingError
from promptweight.prompt.builder import Builder
from promptweight.prompt.dialects.a1111 import read
from promptweight.prompt.dialects.comfy import read_comfy
from promptweight.prompt.dialects.compel import read_compel
from promptweight.prompt.model import Part, Prompt
from promptweight.prompt.source_map import Flow


def read_plain(source: str) -> Prompt:
    """Every character is text."""
    builder = Builder(source, "plain")
    builder.span(Flow.whole(source), [(0, len(source))], 1.0)
    builder.parts.append(Part(source, 1.0, 0, len(source), 0, len(source)))
    builder.scanned = len(source)
    return builder.prompt()


READERS: dict[str, Callable[[str, Collection[str]], Prompt]] = {
    "pw": lambda source, embeddings: read(source, "pw", embeddings),
    "a1111": lambda source, embeddings: read(source, "a1111", embeddings),
    "comfy": lambda source, _: read_comfy(source),
    "compel": lambda source, _: read_compel(source),
    "plain": lambda source, _: read_plain(source),
}
DIALECTS = tuple(READERS)
"""The names that `parse` knows."""


def check_dialect(dialect: str) -> None:
    """Raise SettingError for a dialect that is not known."""
    if dialect not in READERS:
        raise SettingError(f"dialect {dialect!r} is not known; the dialects are {', '.join(READERS)}")


def parse(text: str, dialect: str = "pw", *, embeddings: Collection[str] = ()) -> Prompt:
    """Read a prompt. Any string at all gives a Prompt; what is odd in it is in ``diagnostics``.

    ``dialect``: ``pw`` (A1111's grammar and ours), ``a1111``, ``comfy``, ``compel``, or ``plain`` (no
    syntax). ``embeddings``: names of loaded textual inversions, which ``pw`` and ``a1111`` find as bare
    words. Raises SettingError for any other dialect. Time and memory grow linearly with the text.

        >>> parse("(gato:1.4{steps=0.2-0.8})").spans[0].options.steps
        (0.2, 0.8)
    """
    check_dialect(dialect)
    return READERS[dialect](text, embeddings)
