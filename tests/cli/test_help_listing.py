"""The listing of commands in the READMEs is the program's own help."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from promptweight.cli.help_listing import BEGIN, END, make_listing, replace_listing
from promptweight.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["README.md", "README.pt-br.md"])
def test_the_readme_lists_the_commands_as_they_are(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert replace_listing(text) == text, "run: python -m promptweight.cli.help_listing README.md README.pt-br.md"


def test_the_listing_is_the_help_that_people_see(run):
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


def test_marks_that_are_missing_or_doubled_are_refused():
    assert replace_listing(f"a\n{BEGIN}old{END}\nb") == f"a\n{make_listing()}\nb"
    for text in ("", BEGIN, END + BEGIN, f"{BEGIN}{END}{BEGIN}{END}"):
        with pytest.raises(ValueError, match="once"):
            replace_listing(text)


def blocks(name, language):
    """The contents of a README's blocks of code in one language."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(name):
    """The words of every command of promptweight that a README tells to run."""
    parts = [re.split(r"\s+#\s", line)[0] for block in blocks(name, "sh") for line in block.splitlines()]
    return [
        shlex.split(part)[1:]
        for line in parts
        for part in line.split(" && ")
        if part.startswith("promptweight ")
    ]


def test_both_readmes_tell_the_same_commands_and_each_is_understood():
    told = commands("README.md")
    translated = [
        ["FOLDER" if word == "PASTA" else word for word in each] for each in commands("README.pt-br.md")
    ]
    assert translated == told
    program = typer.main.get_command(app)
    assert {name for name, *_ in told} == program.commands.keys()
    for name, *arguments in told:
        program.commands[name].make_context(name, arguments)  # wrong usage would raise


def test_the_picture_that_the_readme_asks_about_is_the_one_it_has_made():
    told = commands("README.md")
    folder = "gatos"
    makes = [each for each in told if folder in each]
    assert makes == [each for each in told if each[:2] == ["generate", "um (gato:1.4) vermelho"]][:1]
    asked = {word for each in told for word in each if word.endswith(".png")}
    assert asked == {f"{folder}/00001-1-um-gato-vermelho.png"}
    assert makes[0][makes[0].index("--seed") + 1] == "1"


@pytest.mark.parametrize("name", ["README.md", "README.pt-br.md"])
def test_the_python_of_the_readme_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = {}
    for block in blocks(name, "python"):
        exec(block, told)
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert tuple(told["heat"].shape) == (told["image"].height, told["image"].width)
