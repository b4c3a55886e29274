"""Report of a parsed prompt."""

import io
import re

import pytest

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


@pytest.mark.parametrize(
    ("dialect", "prompt", "parts"),
    [
        ("pw", "um gato :1.2 AND um rato :0.8 AND mel", [1.2, 0.8, 1]),
        ("a1111", "um gato AND um rato :0.5", [1, 0.5]),
        ("pw", "AND mel :2 AND", [1, 2, 1]),
    ],
)
def test_make_table_has_the_weight_of_every_and_part(dialect, prompt, parts):
    lines = render_text(prompt_report.make_table(parse(prompt, dialect).at())).splitlines()
    titles = [re.fullmatch(r"— (?:AND )?part (\d+) — +(\S+) *", line) for line in lines if line[0] == "—"]
    of_parts = [title.groups() for title in titles]
    assert of_parts == [(str(number + 1), f"{weight:g}") for number, weight in enumerate(parts)]


def test_list_diagnostics_has_a_caret_below_the_range():
    lines = render_text(prompt_report.list_diagnostics(parse("ok\num 🐱 gato) azul").at())).splitlines()
    assert "stray-closer" in lines[0]
    assert lines[1] == "  um 🐱 gato) azul"
    assert lines[2].index("^") == len("  um 🐱 gato") + 1  # the cat is two cells wide


def test_list_diagnostics_cuts_long_lines():
    lines = render_text(prompt_report.list_diagnostics(parse("x" * 500 + ")" + "y" * 500).at())).splitlines()
    assert max(map(len, lines)) <= 110
    assert lines[1][lines[2].index("^")] == ")"


def test_make_table_has_the_weights_of_network_tags():
    lines = render_text(
        prompt_report.make_table(parse("um gato<lora:a/x:0:1><lora:y:1@0,0@0.5>").at())
    ).splitlines()
    assert [line.split() for line in lines[-2:]] == [["a/x", "0:1", "lora"], ["y", "1@0,0@0.5", "lora"]]
