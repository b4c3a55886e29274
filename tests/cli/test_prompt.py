"""`parse`, `convert` and `detect`: streams, JSON and exit codes."""

import io
import json
import sys

import pytest

import promptweight


def test_parse_prints_words_weights_and_diagnostics(run):
    code, out, _ = run("parse", "um (gato:1.4) [vermelho")
    assert code == 0
    assert "gato" in out
    assert "1.4" in out
    assert out.count("\n") > 3


def test_parse_json_is_that_of_the_library(run):
    from promptweight.prompt import to_data

    code, out, _ = run("parse", "um (gato:1.4) {x} árvore", "--json")
    assert code == 0
    expected = to_data(promptweight.parse("um (gato:1.4) {x} árvore").at())
    assert json.loads(out) == json.loads(json.dumps(expected))


@pytest.mark.parametrize("prompt", ["", "[red]bold[/red]", "(((", "\udcff\ud800", ":smile: 🐱", "a" * 5000])
def test_parse_accepts_any_prompt(run, prompt):
    code, out, _ = run("parse", prompt)
    assert code == 0
    assert "Traceback" not in out


def test_brackets_are_not_markup(run):
    _, out, _ = run("parse", r"\[red\]gato\[/red\]")
    assert "[red]gato[/red]" in out


def test_closed_stdin_exits_with_2(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = run("parse", "-")
    assert code == 2
    assert "stdin" in err


def test_stdin_must_be_utf_8(run, monkeypatch):
    def pipe(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))

    for content in ("à (rato:1.3)\n".encode(), "\ufeffà (rato:1.3)\r\n".encode()):
        pipe(content)
        assert json.loads(run("parse", "-", "--json")[1])["source"] == "à (rato:1.3)"
    pipe("à vista".encode("latin-1"))
    code, out, err = run("parse", "-")
    assert (code, out) == (2, "")
    assert err == "error: stdin must be UTF-8; got the byte 0xe0 at position 1\n"


def test_convert_prints_the_conversion_of_the_library(run):
    code, out, _ = run("convert", "um (gato:1.4)", "--to", "compel")
    assert code == 0
    assert out == promptweight.convert("um (gato:1.4)", "pw", "compel").text + "\n"


def test_convert_names_textual_inversions(run):
    run_convert = ("convert", "foo, (bar:1.2)", "--from", "a1111", "--to", "comfy")
    assert run(*run_convert, "--embedding", "foo")[1] == "embedding:foo, (bar:1.2)\n"
    assert run("convert", "embedding:foo", "--from", "comfy", "--to", "a1111")[1] == "foo\n"


def test_convert_from_novelai(run):
    assert (
        run("convert", "{{a}}, 1.2::b ::", "--from", "novelai", "--to", "a1111")[1] == "(a:1.1025), (b:1.2)\n"
    )
    assert run("detect", "{{a}}, 1.2::b ::")[1].startswith("novelai ")
    assert run("parse", "{{a}}", "--dialect", "novelai", "--json")[1].count("1.1025") >= 1


def test_convert_warns_of_losses(run):
    code, out, err = run("convert", "um [gato:rato:0.5]", "--from", "a1111", "--to", "comfy")
    assert code == 0
    assert out.strip()
    assert err.startswith("warning: ")
    made = json.loads(run("convert", "um [gato:rato:0.5]", "--from", "a1111", "--to", "comfy", "--json")[1])
    assert made["prompt"] == out.strip()
    assert made["losses"]


def test_detect_prints_dialect_and_confidence(run):
    code, out, _ = run("detect", "um gato++ e um (rato)1.3")
    assert code == 0
    dialect, confidence = out.split()
    assert dialect == "compel"
    assert 0 < float(confidence) <= 1
    assert json.loads(run("detect", "um gato++ e um (rato)1.3", "--json")[1])["dialect"] == "compel"


@pytest.mark.parametrize(
    "arguments",
    [["parse"], ["parse", "x", "--dialect", "klingon"], ["convert", "x"], ["convert", "x", "--to", "k"]],
)
def test_wrong_usage_exits_with_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err


def test_parse_with_tokens_counts_them_by_chunk(run, model_folder):
    prompt = "um (gato:1.4) " + "um " * 80
    code, out, _ = run("parse", prompt, "--tokens", str(model_folder), "--json")
    assert code == 0
    (counted,) = json.loads(out)["tokens"]
    assert (counted["encoder"], counted["tokens"], counted["capacity"]) == ("clip", 82, 75)
    assert [chunk["tokens"] for chunk in counted["chunks"]] == [75, 7]
    assert counted["chunks"][1]["text"] == " ".join(["um"] * 7)
    assert [piece["weight"] for piece in counted["chunks"][0]["pieces"][:3]] == [1.0, 1.4, 1.0]
    code, out, _ = run("parse", prompt, "--tokens", str(model_folder))
    assert code == 0
    assert "75/75" in out
    assert "7/75" in out


def test_tokens_of_an_absent_model_exit_with_1_without_network(run, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was used"))
    code, out, err = run("parse", "gato", "--tokens", "nobody/nothing")
    assert (code, out) == (1, "")
    assert "'nobody/nothing'" in err
    assert "cache" in err
