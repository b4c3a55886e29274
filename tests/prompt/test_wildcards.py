"""Random choices and wildcard files."""

import pytest

from promptweight.errors import SettingError
from promptweight.prompt import expand


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
