"""Random choices and wildcard files."""

from itertools import permutations

import pytest

from promptweight.errors import SettingError
from promptweight.prompt import expand, parse


def expand_with_many_seeds(text, folder=None):
    return {expand(text, seed, folder) for seed in range(200)}


def test_expand_gives_every_choice():
    assert expand_with_many_seeds("um {gato|rato}") == {"um gato", "um rato"}
    assert expand_with_many_seeds("{2$$a|b|c}") == {"a, b", "a, c", "b, a", "b, c", "c, a", "c, b"}
    assert expand_with_many_seeds("{0-1$$ e $$a|b}") == {"", "a", "b"}
    assert expand_with_many_seeds("{2$$ e $$a|b}") == {"a e b", "b e a"}
    assert expand_with_many_seeds("{a|{b|c} d}") == {"a", "b d", "c d"}
    assert expand_with_many_seeds("{0::a|b}") == {"b"}
    assert expand_with_many_seeds("{3$$a|b}") == {"a, b", "b, a"}


def test_expand_without_a_bound_takes_one_or_all_of_the_options():
    assert expand_with_many_seeds("{-2$$a|b}") == {"a", "b", "a, b", "b, a"}
    assert expand_with_many_seeds("{1-$$a|b}") == {"a", "b", "a, b", "b, a"}
    assert expand_with_many_seeds("{2-$$+$$a|b|c}") >= {"a+b", "c+b+a"}
    assert expand_with_many_seeds("{1-2$$, $$a|b|c}") == {
        *("a", "b", "c"),
        *("a, b", "a, c", "b, a", "b, c", "c, a", "c, b"),
    }


def test_expand_takes_weights_and_methods_as_they_are_written():
    assert expand_with_many_seeds("{ 0 :: a|1 ::b}") == {"b"}
    assert expand_with_many_seeds("{~a|b}") == {"a", "b"}
    assert expand_with_many_seeds("{2$$ {e|ou} $$a|b}") == {"a e b", "b e a", "a ou b", "b ou a"}
    for text in ("{@a|b}", "{!a|b}", "${x=a} ${x}"):
        assert expand(text, 1) == text


def test_expand_weights_set_the_probabilities():
    found = [expand("{9::a|1::b}", seed) for seed in range(500)]
    assert 400 < found.count("a") < 490


def test_expand_keeps_other_braces():
    for text in ("(a:1.4{steps=0:1 1:2, layers=up})", "{a", "a}", "{}", "{a}", "[a|b]", "__init__", "a|b"):
        assert expand(text, 1) == text
    assert expand(r"\{a\}", 1) == "{a}"


def test_expand_reads_wildcard_files(tmp_path):
    (tmp_path / "cores").mkdir()
    (tmp_path / "cor.txt").write_text("# cores\nazul\n\n__cores/quentes__\n", encoding="utf-8")
    (tmp_path / "cores/quentes.txt").write_text("{vermelho|laranja}\n", encoding="utf-8")
    assert expand_with_many_seeds("gato __cor__", tmp_path) == {"gato azul", "gato vermelho", "gato laranja"}


def test_expand_draws_different_lines_of_a_file(tmp_path):
    (tmp_path / "cor.txt").write_text("azul\nverde\n{claro|escuro}\n", encoding="utf-8")
    found = expand_with_many_seeds("{2$$__cor__}", tmp_path)
    assert found == {
        f"{first}, {second}"
        for first, second in permutations(["azul", "verde", "claro", "escuro"], 2)
        if {first, second} != {"claro", "escuro"}
    }
    assert expand_with_many_seeds("{2$$ __cor__ $$a|b}", tmp_path) == {"a __cor__ b", "b __cor__ a"}
    assert expand_with_many_seeds("{2$$__cor__|x}", tmp_path) >= {"azul, x", "x, verde"}


def test_expand_draws_from_the_files_that_an_asterisk_matches(tmp_path):
    (tmp_path / "cores/frias").mkdir(parents=True)
    for name, line in (("cor-1", "azul"), ("cor-2", "verde"), ("cores/frias/x", "gelo"), ("y", "nada")):
        (tmp_path / f"{name}.txt").write_text(line, encoding="utf-8")
    assert expand_with_many_seeds("__cor*__", tmp_path) == {"azul", "verde"}
    assert expand_with_many_seeds("__~cores/**__", tmp_path) == {"gelo"}
    assert expand_with_many_seeds("__**__", tmp_path) == {"azul", "verde", "gelo", "nada"}
    with pytest.raises(SettingError, match="has a name like z"):
        expand("__z*__", 1, tmp_path)
    with pytest.raises(SettingError, match="outside"):
        expand("__frias/../../cor*__", 1, tmp_path / "cores")


def test_expand_draws_a_wildcard_in_the_prompt_and_in_a_line(tmp_path):
    (tmp_path / "a.txt").write_text("bla __b__ bla", encoding="utf-8")
    (tmp_path / "b.txt").write_text("1\n2", encoding="utf-8")
    found = expand_with_many_seeds("__a__ __b__", tmp_path)
    assert found == {f"bla {inner} bla {outer}" for inner in "12" for outer in "12"}


def test_expand_takes_weights_of_lines(tmp_path):
    (tmp_path / "cor.txt").write_text("9::azul\nverde\n0 :: preto\n", encoding="utf-8")
    found = [expand("__cor__", seed, tmp_path) for seed in range(500)]
    assert set(found) == {"azul", "verde"}
    assert 400 < found.count("azul") < 490


@pytest.mark.parametrize("dialect", ["pw", "a1111", "comfy"])
@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("um {gato|rato}", "template-choice", "{gato|rato}"),
        ("{2$$a|b|c}, d", "template-choice", "{2$$a|b|c}"),
        ("{1-2$$ e $$a|b}", "template-choice", "{1-2$$ e $$a|b}"),
        ("{2::a|b}", "template-choice", "{2::a|b}"),
        ("um __cor/quente__", "template-file", "__cor/quente__"),
        ("${x=!{a}} e ${x}", "template-unknown", "${x}"),
        ("{@a|b}", "template-unknown", "{@a|b}"),
        ("__cor(x=1)__", "template-unknown", "__cor(x=1)__"),
    ],
)
def test_template_that_nothing_expands_gets_a_remark(dialect, text, code, place):
    found = [each for each in parse(text, dialect).diagnostics if each.code.startswith("template")]
    assert [(each.code, text[each.start : each.end], each.severity) for each in found] == [
        (code, place, "warning")
    ]


@pytest.mark.parametrize("text", ["(a:1{steps=0-1, layers=up})", "a_b__c", "[a|b]", r"\{a|b}", "5$", "____"])
def test_other_text_gets_no_remark_on_templates(text):
    assert not [each for each in parse(text).diagnostics if each.code.startswith("template")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__nada__", "__nada__ needs the text file"),
        ("__vazio__", "no lines"),
        ("__a__", "contains itself.*a > b > a"),
        ("__../fora__", "outside"),
    ],
)
def test_expand_invalid_wildcard_raises_setting_error(tmp_path, text, message):
    folder = tmp_path / "dentro"
    folder.mkdir()
    (tmp_path / "fora.txt").write_text("x", encoding="utf-8")
    (folder / "vazio.txt").write_text("# nada\n", encoding="utf-8")
    (folder / "a.txt").write_text("__b__", encoding="utf-8")
    (folder / "b.txt").write_text("__a__", encoding="utf-8")
    with pytest.raises(SettingError, match=message):
        expand(text, 1, folder)


def test_expand_limits_the_number_of_choices(tmp_path):
    for number in range(15):
        (tmp_path / f"w{number}.txt").write_text(f"__w{number + 1}__" * 10, encoding="utf-8")
    (tmp_path / "w15.txt").write_text("x", encoding="utf-8")
    with pytest.raises(SettingError, match="random choices"):
        expand("__w0__", 1, tmp_path)
