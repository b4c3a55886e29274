"""Report of a parsed prompt: a table of its spans, and diagnostics with a caret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptweight.prompt import Diagnostic, Prompt, Span, format_tag_weights

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

ORIGINS = {
    "none": "",
    "round": "( )",
    "square": "[ ]",
    "number": "( : )",
    "plus": "+",
    "minus": "-",
    "curly": "{ }",
    "colons": ":: ::",
}
STYLES = {"info": "cyan", "warning": "yellow", "error": "red"}
MAX_LINE_LENGTH = 100
"""A longer line of the source is cut to this length around the range of a diagnostic."""


def make_table(prompt: Prompt) -> Table:
    """Return the spans with their weights as a rich table; heavier text is warmer.

    A line above each part of an AND prompt has the weight of the part. Network tags follow, with the weights
    as in the tag.
    """
    from rich.table import Table
    from rich.text import Text

    rows = [span for span in prompt.spans if span.origin != "gap"]
    has_parts = len(prompt.parts) > 1 and prompt.dialect != "compel"
    parts = [f"{part.weight:g}" for part in prompt.parts]
    with_options = any(span.options for span in rows)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("text")
    table.add_column("weight", justify="right")
    table.add_column("from")
    if with_options:
        table.add_column("options")
    number = 1
    if has_parts:
        table.add_row(Text("— part 1 —", style="dim"), Text(parts[0], style="dim"))
    for span in rows:
        if span.origin == "break":
            cells = [Text("— new chunk —", style="dim")]
        elif span.origin == "and" and has_parts:
            number += 1
            cells = [Text(f"— AND part {number} —", style="dim"), Text(parts[number - 1], style="dim")]
        elif span.origin == "and":
            cells = [Text(f"— {_describe_joint(prompt)} —", style="dim")]
        else:
            style = _weight_style(span)
            cells = [
                Text(make_visible(span.text), style=style),
                Text(f"{span.weight:g}", style=style),
                Text(ORIGINS[span.origin], style="dim"),
                *([Text(str(span.options))] if with_options else []),
            ]
        table.add_row(*cells)
    for lora in prompt.loras:
        weights = format_tag_weights(lora.weight, lora.text_encoder_weight, lora.curve)
        table.add_row(Text(make_visible(lora.name)), Text(weights), Text(lora.kind, style="dim"))
    return table


def _describe_joint(prompt: Prompt) -> str:
    """Return the operator that joins the parts of a compel prompt, with their weights: `.blend(0.7, 0.3)`."""
    operator = ".and" if prompt.parts[0].blend is None else ".blend"
    weights = [f"{part.weight:g}" for part in prompt.parts]
    return f"{operator}({', '.join(weights if prompt.parts[0].normalize else [*weights, 'no_normalize'])})"


def _weight_style(span: Span) -> str:
    """Return red above 1, blue below, magenta for negative weights."""
    if span.weight < 0:
        return "magenta"
    if span.weight == 1:
        return ""
    return "red" if span.weight > 1 else "blue"


def list_diagnostics(prompt: Prompt) -> Group:
    """Return the diagnostics as a rich renderable, each with its source line and a caret below the range."""
    from rich.console import Group

    return Group(*(line for each in prompt.diagnostics for line in _point_at(prompt.source, each)))


def _point_at(source: str, diagnostic: Diagnostic) -> list[Text]:
    """Return the message of one diagnostic, the line of the source, and the caret."""
    from rich.cells import cell_len
    from rich.text import Text

    line_start = source.rfind("\n", 0, diagnostic.start) + 1
    line_end = source.find("\n", diagnostic.start)
    line_end = len(source) if line_end < 0 else line_end
    first = max(line_start, min(diagnostic.start - MAX_LINE_LENGTH // 3, line_end - MAX_LINE_LENGTH))
    last = min(line_end, first + MAX_LINE_LENGTH)
    before = make_visible(source[first : diagnostic.start])
    marked = make_visible(source[diagnostic.start : max(diagnostic.start, min(diagnostic.end, last))])
    after = make_visible(source[diagnostic.start + len(marked) : last])
    style = STYLES[diagnostic.severity]
    caret = " " * cell_len(before) + "^" * max(1, cell_len(marked))
    return [
        Text.assemble(
            (f"{diagnostic.severity}: ", f"bold {style}"),
            diagnostic.message,
            (f"  [{diagnostic.code}]", "dim"),
        ),
        Text("  " + before + marked + after),
        Text("  " + caret, style=style),
    ]


def make_visible(text: str) -> str:
    """Return text of the same length with a visible character for every one that does not print."""
    return "".join(
        character if character.isprintable() else {"\n": "⏎", "\t": "→"}.get(character, "�")
        for character in text
    )
