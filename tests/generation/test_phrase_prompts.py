"""Prompts that measure one phrase: single weights, deletion, and texts that change or are joined."""

import pytest

from promptweight.errors import SettingError
from promptweight.generation.phrase_prompts import (
    delete_phrase,
    find_weighted,
    single_text,
    split_spans,
    weigh_only,
)
from promptweight.prompt import parse


def text_of(prompt, step=0, steps=10, dialect="pw"):
    return single_text(parse(prompt, dialect).at(), step, steps)


@pytest.mark.parametrize(
    ("prompt", "shorter"),
    [
        ("um (gato:0.5) vermelho", "um vermelho"),
        ("um   (gato:0.5)   vermelho", "um vermelho"),
        ("(gato:0.5) vermelho", "vermelho"),
        ("um (gato:0.5)", "um"),
        ("(gato:0.5)", ""),
        ("um (gato:0.5), vermelho", "um, vermelho"),
        ("(gato:0.5), rato, sol", "rato, sol"),
        ("rato, (gato:0.5), sol", "rato, sol"),
        ("rato, (gato:0.5)", "rato,"),
        ("(um gato:0.5) e (um gato:1.2)", "e um gato"),
    ],
)
def test_deletion_leaves_one_space_or_comma(prompt, shorter):
    text = text_of(prompt)
    phrase = find_weighted(text)[0]
    deleted = delete_phrase(text, phrase)
    assert deleted.prompt.text == shorter
    spans = deleted.prompt.spans
    assert "".join(span.text for span in spans) == shorter
    assert [shorter[span.clean_start : span.clean_end] for span in spans] == [span.text for span in spans]
    assert all(span.weight == 1 and not span.options for span in spans)
    for offset, letter in enumerate(text.text):
        shifted = deleted.shift(offset)
        assert shifted is None or shorter[shifted] == letter
    assert deleted.shift(phrase.start) is None


def test_deletion_moves_breaks():
    text = text_of("a BREAK (gato:0.5) b BREAK c")
    assert [text.text[at:] for at in text.breaks] == ["gato b c", "c"]
    shorter = delete_phrase(text, find_weighted(text)[0]).prompt
    assert shorter.text == "a b c"
    assert [shorter.text[at:].strip() for at in shorter.breaks] == ["b c", "c"]


def test_weigh_only_keeps_the_weight_and_options_of_one_phrase():
    text = text_of("um (gato:0.5{region=left}) e um (rato:1.4)")
    first, second = find_weighted(text)
    assert (first.text, first.weight, second.text, second.weight) == ("gato", 0.5, "rato", 1.4)

    def weights(prompt):
        return [(span.text.strip(), span.weight) for span in prompt.spans if span.is_weighted]

    assert weights(weigh_only(text, None)) == []
    assert weights(weigh_only(text, first)) == [("gato", 0.5)]
    assert weights(weigh_only(text, second)) == [("rato", 1.4)]
    zero = weigh_only(text, first, 0.0)
    assert weights(zero) == [("gato", 0.0)]
    assert [span.options.region for span in zero.spans if span.is_weighted] == ["left"]


def test_shares_are_not_weights():
    text = text_of("um (gato:=25%) e um (rato:0.5)")
    assert [phrase.text for phrase in find_weighted(text)] == ["rato"]


def test_split_spans_divides_a_span_at_the_ends_of_a_phrase():
    text = text_of("(um gato vermelho:0.5)")
    (whole,) = find_weighted(text)
    part = type(whole)("gato", 3, 7, 0.5)
    split = split_spans(text, [part])
    assert [span.text for span in split.spans] == ["um ", "gato", " vermelho"]
    assert [span.weight for span in weigh_only(split, part).spans] == [1.0, 0.5, 1.0]


def test_single_text_is_that_of_the_step():
    assert text_of("um [gato:rato:0.5]", 0).text == "um gato"
    assert text_of("um [gato:rato:0.5]", 9).text == "um rato"


@pytest.mark.parametrize(
    ("prompt", "dialect"),
    [
        ("um (gato:0.5) AND um rato", "pw"),
        ('("um (gato)0.5", "um rato").and()', "compel"),
        ('("um (gato)0.5", "um rato").blend(1, 1)', "compel"),
    ],
)
def test_joined_texts_raise(prompt, dialect):
    with pytest.raises(SettingError, match="joins several texts"):
        text_of(prompt, dialect=dialect)
