"""What a person is shown of a prompt: a table of its fragments, diagnostics with a caret, JSON data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from promptweight.prompt import Diagnostic, Prompt, Span

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

WORDS = {
    "en": {
        "text": "text",
        "weight": "weight",
        "from": "from",
        "options": "options",
        "break": "new chunk",
        "and": "AND",
    },
    "pt": {
        "text": "texto",
        "weight": "peso",
        "from": "de",
        "options": "opções",
        "break": "novo bloco",
        "and": "AND",
    },
}
ORIGINS = {"none": "", "round": "( )", "square": "[ ]", "number": "( : )", "plus": "+", "minus": "-"}
STYLES = {"info": "cyan", "warning": "yellow", "error": "red"}
WIDEST_LINE = 100
"""A longer line of the source is cut to this much round the place that a diagnostic points at."""


def table(prompt: Prompt, language: str = "en") -> Table:
    """The fragments with their weights, as a rich table; heavier text is warmer."""
    from rich.table import Table
    from rich.text import Text

    words = WORDS[language]
    rows = [span for span in prompt.spans if span.origin != "gap"]
    with_options = any(span.options for span in rows)
    shown = Table(box=None, pad_edge=False, header_style="dim")
    shown.add_column(words["text"])
    shown.add_column(words["weight"], justify="right")
    shown.add_column(words["from"])
    if with_options:
        shown.add_column(words["options"])
    for span in rows:
        if span.origin in ("break", "and"):
            name = (
                joint(prompt) if span.origin == "and" and prompt.dialect == "compel" else words[span.origin]
            )
            cells = [Text(f"— {name} —", style="dim"), Text(), Text()]
        else:
            style = weight_style(span)
            cells = [
                Text(visible(span.text), style=style),
                Text(f"{span.weight:g}", style=style),
                Text(ORIGINS[span.origin], style="dim"),
            ]
        if with_options:
            cells.append(Text(str(span.options)))
        shown.add_row(*cells)
    return shown


def joint(prompt: Prompt) -> str:
    """What joins the parts of a compel prompt, with their weights: ``.blend(0.7, 0.3)``."""
    operator = ".and" if prompt.parts[0].blend is None else ".blend"
    weights = [f"{part.weight:g}" for part in prompt.parts]
    return f"{operator}({', '.join(weights if prompt.parts[0].normalize else [*weights, 'no_normalize'])})"


def weight_style(span: Span) -> str:
    """Red above 1, blue below, magenta for negative weights."""
    if span.weight < 0:
        return "magenta"
    if span.weight == 1:
        return ""
    return "red" if span.weight > 1 else "blue"


def diagnostics(prompt: Prompt, language: str = "en") -> Group:
    """The diagnostics as a rich renderable: each with its line of the source and a caret under the place."""
    from rich.console import Group

    return Group(
        *(
            line
            for diagnostic in prompt.diagnostics
            for line in pointed_at(prompt.source, diagnostic, language)
        )
    )


def pointed_at(source: str, diagnostic: Diagnostic, language: str) -> list[Text]:
    """One diagnostic: its message, the line of the source, the caret."""
    from rich.cells import cell_len
    from rich.text import Text

    message = diagnostic.message_pt if language == "pt" else diagnostic.message
    line_start = source.rfind("\n", 0, diagnostic.start) + 1
    line_end = source.find("\n", diagnostic.start)
    line_end = len(source) if line_end < 0 else line_end
    first = max(line_start, min(diagnostic.start - WIDEST_LINE // 3, line_end - WIDEST_LINE))
    last = min(line_end, first + WIDEST_LINE)
    before = visible(source[first : diagnostic.start])
    marked = visible(source[diagnostic.start : max(diagnostic.start, min(diagnostic.end, last))])
    after = (
        visible(source[diagnostic.start + len(marked) : last])
        if len(marked)
        else visible(source[diagnostic.start : last])
    )
    style = STYLES[diagnostic.severity]
    caret = " " * cell_len(before) + "^" * max(1, cell_len(marked))
    return [
        Text.assemble(
            (f"{diagnostic.severity}: ", f"bold {style}"), message, (f"  [{diagnostic.code}]", "dim")
        ),
        Text("  " + before + marked + after),
        Text("  " + caret, style=style),
    ]


def visible(text: str) -> str:
    """Text with every character that would not print as itself replaced by one that does, length kept."""
    return "".join(
        character if character.isprintable() else {"\n": "⏎", "\t": "→"}.get(character, "�")
        for character in text
    )


def to_dict(prompt: Prompt) -> dict[str, Any]:
    """The prompt as JSON data (``json.dumps`` writes lone surrogates as escapes)."""
    return {
        "dialect": prompt.dialect,
        "source": prompt.source,
        "text": prompt.text,
        "fragments": [{"text": text, "weight": weight} for text, weight in prompt.fragments],
        "spans": [asdict(span) for span in prompt.spans],
        "breaks": list(prompt.breaks),
        "parts": [asdict(part) for part in prompt.parts],
        "loras": [asdict(lora) for lora in prompt.loras],
        "embeddings": [asdict(embedding) for embedding in prompt.embeddings],
        "swaps": [asdict(swap) for swap in prompt.swaps],
        "scheduled": prompt.scheduled,
        "diagnostics": [asdict(diagnostic) for diagnostic in prompt.diagnostics],
    }
