"""Weight editing: adjustments of a selection, and weights of phrases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.errors import SettingError
from promptweight.prompt import adjust_weight, find_phrase, parse, set_weight

PHRASES = ["gato", "(gato:1.5)", "((gato))", "[um gato]", "(um (gato) e:0.5)", "rato"]


@pytest.mark.parametrize(
    ("selected", "step", "adjusted"),
    [
        ("um ga|to", 0.1, "um (<gato>:1.1)"),
        ("um (<gato>:1.1)", 0.1, "um (<gato>:1.2)"),
        ("um (<gato>:1.1)", -0.1, "um <gato>"),
        ("um (gato a|zul:0.9)", 0.1, "um <gato azul>"),
        ("<um gato > azul", 0.1, "(<um gato>:1.1)  azul"),
        ("((ga|to))", 0.1, "(<gato>:1.3)"),
        ("[ga|to]", -0.1, "(<gato>:0.8)"),
        ("(gato:1.4{steps=0-|0.5})", 0.1, "(<gato>:1.5{steps=0-0.5})"),
        ("(gato:|0.9{weighting=attention})", 0.1, "(<gato>:1.0{weighting=attention})"),
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
def test_adjust_weight_changes_the_selected_weight(selected, step, adjusted):
    """In the texts, `|` is the caret and `<>` the selection."""
    if "<" in selected:
        start, end = selected.index("<"), selected.index(">") - 1
    else:
        start = end = selected.index("|")
    text = selected.replace("<", "").replace(">", "").replace("|", "", 1)
    written, start, end = adjust_weight(text, start, end, step)
    assert f"{written[:start]}<{written[start:end]}>{written[end:]}" == adjusted


def test_adjust_weight_in_a_tag_changes_its_weight():
    assert adjust_weight("a <lora:x:0.8:te=1>", 8, 8, 0.05) == ("a <lora:x:0.85:te=1>", 8, 9)
    assert adjust_weight("<lora:x>", 6, 6) == ("<lora:x:1.1>", 6, 7)


@pytest.mark.parametrize("step", [0, float("nan"), float("inf"), 1e-9])
def test_adjust_weight_invalid_step_raises_setting_error(step):
    with pytest.raises(SettingError, match="step must be"):
        adjust_weight("a", 0, 1, step)


def test_adjust_weight_of_a_share_changes_nothing():
    assert adjust_weight("um (gato:=25%) e", 6, 6) == ("um (gato:=25%) e", 6, 6)


@pytest.mark.parametrize(
    ("text", "dialect", "written"),
    [
        ("um (gato:1.2) e (outro gato)", "pw", "um (gato:0.55) e (outro (gato:0.5))"),
        ("[gato] ((gato))", "a1111", "(gato:0.55) (gato:0.55)"),
        ("(gato:1.2) (outro gato:2) gato", "comfy", "(gato:0.55) (outro (gato:0.55):2) (gato:0.55)"),
        ("gato++ e (outro gato)++", "compel", "(gato)0.55 e (outro (gato)0.454545)++"),
        ("(gato:1.2{weighting=attention})", "pw", "(gato:0.55{weighting=attention})"),
        ("um rato", "pw", "um rato"),
    ],
)
def test_set_weight_gives_every_occurrence_the_weight(text, dialect, written):
    assert set_weight(text, "gato", 0.55, dialect) == written


@pytest.mark.parametrize(
    ("text", "dialect", "message"),
    [
        ("(a gato:0)", "pw", "inside a weight of 0"),
        ("um (gato azul) vermelho", "pw", "brackets divide"),
        ("gato azul vermelho", "plain", "brackets divide"),
    ],
)
def test_set_weight_that_the_prompt_cannot_have_raises_setting_error(text, dialect, message):
    phrase = "azul vermelho" if "azul" in text else "gato"
    with pytest.raises(SettingError, match=message):
        set_weight(text, phrase, 2.0, dialect)


@given(
    st.lists(
        st.sampled_from(["gato", "(gato:1.5)", "((gato))", "[um gato]", "(um (gato) e:0.5)", "rato"]),
        max_size=6,
    ),
    st.sampled_from([0.5, 1.0, 2.25, -1.0]),
    st.sampled_from(["pw", "a1111", "comfy"]),
)
def test_set_weight_parses_to_the_weight(pieces, weight, dialect):
    prompt = parse(set_weight(" ".join(pieces), "gato", weight, dialect), dialect).at()
    found = find_phrase(prompt, "gato")
    assert len(found) == sum("gato" in piece for piece in pieces)
    for start, _ in found:
        (span,) = [span for span in prompt.spans if span.clean_start <= start < span.clean_end]
        assert span.weight == pytest.approx(weight, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        (")", 0, 1),
        ("(3:: BREAK \\inf", 11, 12),
        ("1.2 AND {to=2}", 6, 11),
        (":2]\n)", 1, 5),
        ("a [b:c:3]", 4, 6),
    ],
)
def test_adjust_weight_of_a_selection_that_cuts_syntax_changes_nothing(text, start, end):
    assert adjust_weight(text, start, end) == (text, start, end)
