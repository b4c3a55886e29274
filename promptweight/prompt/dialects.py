"""The dialects by name, and ``parse``, which reads any of them."""

from __future__ import annotations

from collections.abc import Callable

from promptweight.errors import SettingError
from promptweight.prompt import read
from promptweight.prompt.build import Builder
from promptweight.prompt.comfy import read_comfy
from promptweight.prompt.compel import read_compel
from promptweight.prompt.flow import Flow
from promptweight.prompt.model import Part, Prompt


def read_plain(source: str) -> Prompt:
    """Every character is text."""
    builder = Builder(source, "plain")
    builder.span(Flow.whole(source), [(0, len(source))], 1.0)
    builder.parts.append(Part(source, 1.0, 0, len(source), 0, len(source)))
    builder.scanned = len(source)
    return builder.prompt()


READERS: dict[str, Callable[[str], Prompt]] = {
    "pw": lambda source: read.read(source, "pw"),
    "a1111": lambda source: read.read(source, "a1111"),
    "comfy": read_comfy,
    "compel": read_compel,
    "plain": read_plain,
}
DIALECTS = tuple(READERS)


def parse(text: str, dialect: str = "pw") -> Prompt:
    """Read a prompt. Any string at all gives a Prompt; what is odd in it is in ``diagnostics``.

    ``dialect``: ``pw`` (A1111's grammar and ours), ``a1111``, ``comfy``, ``compel``, or ``plain`` (no syntax).
    Raises SettingError for any other dialect. Time and memory grow linearly with the text.

        >>> parse("(gato:1.4{steps=0.2-0.8})").spans[0].options.steps
        (0.2, 0.8)
    """
    if dialect not in READERS:
        raise SettingError(f"dialect {dialect!r} is not known; the dialects are {', '.join(READERS)}")
    return READERS[dialect](text)
