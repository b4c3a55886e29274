"""Report of a parsed prompt."""

import io
import json

from promptweight.cli import prompt_report
from promptweight.prompt import parse


def render_text(renderable, width=120):
    from rich.console import Console

    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def test_make_table_has_texts_weights_and_options():
    table = render_text(prompt_report.make_table(parse("um (gato:1.4{steps=0-0.5}) BREAK [céu]").at()))
    for word in ("gato", "1.4", "steps=0-0.5", "new chunk", "0.909091"):
        assert word in table


def test_list_diagnostics_has_a_caret_below_the_range():
    lines = render_text(prompt_report.list_diagnostics(parse("ok\num 🐱 gato) azul").at())).splitlines()
    assert "stray-closer" in lines[0]
    assert lines[1] == "  um 🐱 gato) azul"
    assert lines[2].index("^") == len("  um 🐱 gato") + 1  # the cat is two cells wide
    assert "não fecha nada" in render_text(prompt_report.list_diagnostics(parse("a)").at(), language="pt"))


def test_list_diagnostics_cuts_long_lines():
    lines = render_text(prompt_report.list_diagnostics(parse("x" * 500 + ")" + "y" * 500).at())).splitlines()
    assert max(map(len, lines)) <= 110
    assert lines[1][lines[2].index("^")] == ")"


def test_to_dict_is_json():
    data = json.loads(
        json.dumps(prompt_report.to_dict(parse("(a:1.2{to=2}) \ud800 AND [b:c:3] <lora:x:1>").at()))
    )
    assert data["fragments"][0] == {"text": "a", "weight": 1.2}
    assert data["spans"][0]["options"]["to"] == 2.0
    assert data["scheduled"] is True
