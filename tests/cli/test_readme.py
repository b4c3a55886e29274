"""The listing of commands in the READMEs is the program's own help."""

from pathlib import Path

import pytest

from promptweight.cli.readme import BEGIN, END, renewed, section

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["README.md", "README.pt-br.md"])
def test_the_readme_lists_the_commands_as_they_are(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert renewed(text) == text, "run: python -m promptweight.cli.readme README.md README.pt-br.md"


def test_the_listing_is_the_help_that_people_see(run):
    listed = section()
    shown = run("--help")[1]
    commands = [line.split()[0] for line in listed.partition("\n\n")[0].splitlines()[3:]]
    assert commands
    assert all(f" {command} " in shown for command in commands)
    options = [word for word in listed.partition("\n\n")[2].split() if word[:2] == "--" and word != "-->"]
    assert len(options) > 10
    shown = run("generate", "--help")[1]
    assert all(option in shown for option in options)
    assert "Traceback" not in shown


def test_marks_that_are_missing_or_doubled_are_refused():
    assert renewed(f"a\n{BEGIN}old{END}\nb") == f"a\n{section()}\nb"
    for text in ("", BEGIN, END + BEGIN, f"{BEGIN}{END}{BEGIN}{END}"):
        with pytest.raises(ValueError, match="once"):
            renewed(text)
