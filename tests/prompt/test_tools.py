"""nudge, detect, expand and what is shown of a prompt."""

import io
import json

import pytest

from promptweight.cli import prompt_report
from promptweight.errors import SettingError
from promptweight.prompt import adjust_weight, detect, expand, parse


@pytest.mark.parametrize(
    ("selected", "step", "nudged"),
    [
        ("um ga|to", 0.1, "um (<gato>:1.1)"),
        ("um (<gato>:1.1)", 0.1, "um (<gato>:1.2)"),
        ("um (<gato>:1.1)", -0.1, "um <gato>"),
        ("um (gato a|zul:0.9)", 0.1, "um <gato azul>"),
        ("<um gato > azul", 0.1, "(<um gato>:1.1)  azul"),
        ("((ga|to))", 0.1, "(<gato>:1.3)"),
        ("[ga|to]", -0.1, "(<gato>:0.8)"),
        ("(gato:1.4{steps=0-|0.5})", 0.1, "(<gato>:1.5{steps=0-0.5})"),
        ("(gato:|0.9{mode=p2p})", 0.1, "(<gato>:1.0{mode=p2p})"),
        ("(a (b|:2) c:1.5)", 0.05, "(a (<b>:2.05) c:1.5)"),
        ("[a|a:b:0.5]", 0.1, "[(<aa>:1.1):b:0.5]"),
        ("\\(ga|to\\)", 0.1, "\\((<gato>:1.1)\\)"),
        ("<(a:1.2)>", 0.1, "(<a>:1.3)"),
        ("(<(a b:1.2>)", 0.1, "(<(a b:1.2>)"),
        ("a | b", 0.1, "a <> b"),
        ("x BRE|AK y", 0.1, "x BRE<>AK y"),
        ("|", 0.1, "<>"),
    ],
)
def test_nudge(selected, step, nudged):
    """``|`` is the caret, ``<>`` the selection."""
    if "<" in selected:
        start, end = selected.index("<"), selected.index(">") - 1
    else:
        start = end = selected.index("|")
    text = selected.replace("<", "").replace(">", "").replace("|", "", 1)
    written, start, end = adjust_weight(text, start, end, step)
    assert f"{written[:start]}<{written[start:end]}>{written[end:]}" == nudged


def test_nudge_moves_the_weight_of_a_tag():
    assert adjust_weight("a <lora:x:0.8:te=1>", 8, 8, 0.05) == ("a <lora:x:0.85:te=1>", 8, 9)
    assert adjust_weight("<lora:x>", 6, 6) == ("<lora:x:1.1>", 6, 7)


@pytest.mark.parametrize("step", [0, float("nan"), float("inf"), 1e-9])
def test_a_step_that_moves_nothing_is_an_error(step):
    with pytest.raises(SettingError, match="step must be"):
        adjust_weight("a", 0, 1, step)


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("um gato na praça", "plain"),
        ("um (gato:1.3), [fundo], <lora:x:0.8>", "a1111"),
        ("a BREAK (b:1.2) AND c :0.5", "a1111"),
        ("a [cat:dog:0.5]", "a1111"),
        ("(gato:1.4{steps=0.2-0.8})", "pw"),
        ("embedding:easynegative, (a:1.2)", "comfy"),
        ("a (fluffy cat)1.3 on a car++", "compel"),
        ('("a", "b").blend(0.5, 0.5)', "compel"),
    ],
)
def test_detect(text, dialect):
    found = detect(text)
    assert found.dialect == dialect
    assert 0 < found.confidence <= 1


def test_detect_is_unsure_of_what_several_dialects_share():
    assert detect("(a:1.2)").confidence < 0.6 < detect("<lora:x:1> BREAK [a|b]").confidence


def chosen(text, folder=None):
    return {expand(text, seed, folder) for seed in range(200)}


def test_expand_chooses():
    assert chosen("um {gato|rato}") == {"um gato", "um rato"}
    assert chosen("{2$$a|b|c}") == {"a, b", "a, c", "b, a", "b, c", "c, a", "c, b"}
    assert chosen("{0-1$$ e $$a|b}") == {"", "a", "b"}
    assert chosen("{2$$ e $$a|b}") == {"a e b", "b e a"}
    assert chosen("{a|{b|c} d}") == {"a", "b d", "c d"}
    assert chosen("{0::a|b}") == {"b"}
    assert chosen("{3$$a|b}") == {"a, b", "b, a"}


def test_expand_weighs():
    found = [expand("{9::a|1::b}", seed) for seed in range(500)]
    assert 400 < found.count("a") < 490


def test_expand_leaves_other_braces_alone():
    for text in ("(a:1.4{steps=0.2-0.8, to=1})", "{a", "a}", "{}", "{a}", "[a|b]", "__init__", "a|b"):
        assert expand(text, 1) == text
    assert expand(r"\{a\}", 1) == "{a}"


def test_expand_reads_wildcards(tmp_path):
    (tmp_path / "cores").mkdir()
    (tmp_path / "cor.txt").write_text("# cores\nazul\n\n__cores/quentes__\n", encoding="utf-8")
    (tmp_path / "cores/quentes.txt").write_text("{vermelho|laranja}\n", encoding="utf-8")
    assert chosen("gato __cor__", tmp_path) == {"gato azul", "gato vermelho", "gato laranja"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__nada__", "__nada__ needs the text file"),
        ("__vazio__", "no lines"),
        ("__a__", "contains itself.*a > b > a"),
        ("__../fora__", "outside"),
    ],
)
def test_expand_says_what_is_wrong_with_a_wildcard(tmp_path, text, message):
    folder = tmp_path / "dentro"
    folder.mkdir()
    (tmp_path / "fora.txt").write_text("x", encoding="utf-8")
    (folder / "vazio.txt").write_text("# nada\n", encoding="utf-8")
    (folder / "a.txt").write_text("__b__", encoding="utf-8")
    (folder / "b.txt").write_text("__a__", encoding="utf-8")
    with pytest.raises(SettingError, match=message):
        expand(text, 1, folder)


def test_expand_does_not_explode(tmp_path):
    for number in range(15):
        (tmp_path / f"w{number}.txt").write_text(f"__w{number + 1}__" * 10, encoding="utf-8")
    (tmp_path / "w15.txt").write_text("x", encoding="utf-8")
    with pytest.raises(SettingError, match="random choices"):
        expand("__w0__", 1, tmp_path)


def shown(renderable, width=120):
    from rich.console import Console

    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def test_the_table_shows_texts_weights_and_options():
    table = shown(prompt_report.make_table(parse("um (gato:1.4{steps=0-0.5}) BREAK [céu]").at()))
    for word in ("gato", "1.4", "steps=0-0.5", "new chunk", "0.909091"):
        assert word in table


def test_diagnostics_point_with_a_caret_at_the_place():
    lines = shown(prompt_report.list_diagnostics(parse("ok\num 🐱 gato) azul").at())).splitlines()
    assert "stray-closer" in lines[0]
    assert lines[1] == "  um 🐱 gato) azul"
    assert lines[2].index("^") == len("  um 🐱 gato") + 1  # the cat is two cells wide
    assert "não fecha nada" in shown(prompt_report.list_diagnostics(parse("a)").at(), language="pt"))


def test_a_long_line_is_cut_round_the_place():
    lines = shown(prompt_report.list_diagnostics(parse("x" * 500 + ")" + "y" * 500).at())).splitlines()
    assert max(map(len, lines)) <= 110
    assert lines[1][lines[2].index("^")] == ")"


def test_the_dictionary_is_json():
    data = json.loads(
        json.dumps(prompt_report.to_dict(parse("(a:1.2{to=2}) \ud800 AND [b:c:3] <lora:x:1>").at()))
    )
    assert data["fragments"][0] == {"text": "a", "weight": 1.2}
    assert data["spans"][0]["options"]["to"] == 2.0
    assert data["scheduled"] is True
