"""Listing of commands in the documentation, and the commands in its pages and the READMEs."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from promptweight.cli.help_listing import BEGIN, END, make_listing, replace_listing
from promptweight.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


ENGLISH, PORTUGUESE = PAGES = "docs/command-line.md", "docs/pt-br/linha-de-comando.md"


@pytest.mark.parametrize("name", PAGES)
def test_listing_in_the_documentation_is_current(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert replace_listing(text) == text, f"run: python -m promptweight.cli.help_listing {' '.join(PAGES)}"


def test_listing_has_the_commands_and_options_of_the_help(run):
    listed = make_listing()
    shown = run("--help")[1]
    commands = [line.split()[0] for line in listed.partition("\n\n")[0].splitlines()[3:]]
    assert commands
    assert all(f" {command} " in shown for command in commands)
    options = [word for word in listed.partition("\n\n")[2].split() if word[:2] == "--" and word != "-->"]
    assert len(options) > 10
    shown = run("generate", "--help")[1]
    assert all(option in shown for option in options)
    assert "Traceback" not in shown


def test_missing_and_doubled_marks_are_rejected():
    assert replace_listing(f"a\n{BEGIN}old{END}\nb") == f"a\n{make_listing()}\nb"
    for text in ("", BEGIN, END + BEGIN, f"{BEGIN}{END}{BEGIN}{END}"):
        with pytest.raises(ValueError, match="once"):
            replace_listing(text)


def commands(name):
    """Return the arguments of every promptweight command in a page."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    parts = [re.split(r"\s+#\s", line)[0] for block in blocks for line in block.splitlines()]
    return [
        shlex.split(part)[1:]
        for line in parts
        for part in line.split(" && ")
        if part.startswith("promptweight ")
    ]


@pytest.mark.parametrize(("english", "portuguese"), [PAGES, ("README.md", "README.pt-br.md")])
def test_commands_of_both_languages_are_equal_and_valid(english, portuguese):
    listed_commands = commands(english)
    translated = [["FOLDER" if word == "PASTA" else word for word in each] for each in commands(portuguese)]
    assert translated == listed_commands != []
    program = typer.main.get_command(app)
    for name, *arguments in listed_commands:
        program.commands[name].make_context(name, arguments)  # wrong usage would raise


def test_every_command_has_an_example():
    assert {name for name, *_ in commands(ENGLISH)} == typer.main.get_command(app).commands.keys()


def test_image_file_in_the_page_is_one_that_it_generates():
    listed_commands = commands(ENGLISH)
    folder = "gatos"
    generating = [each for each in listed_commands if folder in each]
    first = [each for each in listed_commands if each[:2] == ["generate", "um (gato:1.4) vermelho"]][:1]
    assert generating == first
    image_files = {word for each in listed_commands for word in each if word.endswith(".png")}
    assert image_files == {f"{folder}/00001-1-um-gato-vermelho.png"}
    assert generating[0][generating[0].index("--seed") + 1] == "1"
