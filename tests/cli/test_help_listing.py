"""Listing of commands in the READMEs, and the commands and code in them."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from promptweight.cli.help_listing import BEGIN, END, make_listing, replace_listing
from promptweight.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["README.md", "README.pt-br.md"])
def test_listing_in_the_readme_is_current(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert replace_listing(text) == text, (
        "run: python -m promptweight.cli.help_listing README.md README.pt-br.md"
    )


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


def blocks(name, language):
    """Return the code blocks of a README in one language."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(name):
    """Return the arguments of every promptweight command in a README."""
    parts = [re.split(r"\s+#\s", line)[0] for block in blocks(name, "sh") for line in block.splitlines()]
    return [
        shlex.split(part)[1:]
        for line in parts
        for part in line.split(" && ")
        if part.startswith("promptweight ")
    ]


def test_commands_of_both_readmes_are_equal_and_valid():
    listed_commands = commands("README.md")
    translated = [
        ["FOLDER" if word == "PASTA" else word for word in each] for each in commands("README.pt-br.md")
    ]
    assert translated == listed_commands
    program = typer.main.get_command(app)
    assert {name for name, *_ in listed_commands} == program.commands.keys()
    for name, *arguments in listed_commands:
        program.commands[name].make_context(name, arguments)  # wrong usage would raise


def test_image_file_in_the_readme_is_one_that_it_generates():
    listed_commands = commands("README.md")
    folder = "gatos"
    generating = [each for each in listed_commands if folder in each]
    first = [each for each in listed_commands if each[:2] == ["generate", "um (gato:1.4) vermelho"]][:1]
    assert generating == first
    image_files = {word for each in listed_commands for word in each if word.endswith(".png")}
    assert image_files == {f"{folder}/00001-1-um-gato-vermelho.png"}
    assert generating[0][generating[0].index("--seed") + 1] == "1"


@pytest.mark.parametrize("name", ["README.md", "README.pt-br.md"])
def test_python_of_the_readme_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks(name, "python"):
        exec(block, namespace)
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert tuple(namespace["heat"].shape) == (
        namespace["image"].height,
        namespace["image"].width,
    )
