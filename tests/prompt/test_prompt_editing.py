"""Prompt editing and alternation: A1111's documented examples, and where pw reads on."""

import pytest

from promptweight.errors import SettingError
from promptweight.prompt import parse, schedule


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("test", [(10, "test")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[x::0.4]y", [(4, "xy"), (10, "y")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:-2]", [(10, "b")]),
        ("[a:b:1e1]", [(10, "a")]),
        ("[a:b:1e999]", [(10, "a")]),
        (r"[a\:b:c:5]", [(5, r"a\:b"), (10, "c")]),
    ],
)
@pytest.mark.parametrize("dialect", ["pw", "a1111"])
def test_editing(source, expected, dialect):
    assert schedule(source, 10, dialect) == expected


def test_alternation_goes_round():
    assert schedule("[fe|||]male", 5) == [(1, "female"), (2, "male"), (3, "male"), (4, "male"), (5, "female")]
    assert schedule("[a|[b:c:2]]", 4) == [(1, "a"), (2, "b"), (3, "a"), (4, "c")]


def test_a_second_pass_counts_on():
    assert schedule("[a:b:15]", 10, second_pass_steps=10) == [(5, "a"), (10, "b")]
    assert schedule("[a:b:1.5]", 10, second_pass_steps=10) == [(5, "a"), (10, "b")]
    assert schedule("[a:b:0.5]", 10, second_pass_steps=10) == [(10, "b")]


def test_old_scheduling_takes_numbers_below_one_for_fractions():
    assert schedule("[a:b:1.5]", 10, use_old_scheduling=True) == [(1, "a"), (10, "b")]
    assert schedule("[a:b:0.5]", 10, use_old_scheduling=True, second_pass_steps=4) == [(5, "a"), (10, "b")]


def test_a_stray_bar_stops_a1111_but_not_pw():
    assert schedule("[a:b:5] c|d", 10, "a1111") == [(10, "[a:b:5] c|d")]
    assert schedule("[a:b:5] c|d", 10, "pw") == [(5, "a c|d"), (10, "b c|d")]


def test_comments_and_tags_are_opaque_in_pw():
    assert schedule("[<lora:x:0.5>::5]y", 10) == [(5, "<lora:x:0.5>y"), (10, "y")]
    assert schedule("# [a:b:5]\nc", 10) == [(10, "# [a:b:5]\nc")]


@pytest.mark.parametrize("dialect", ["comfy", "compel", "plain"])
def test_other_dialects_have_one_text(dialect):
    assert schedule("[a:b:5]", 10, dialect) == [(10, "[a:b:5]")]


def test_parse_reads_the_text_of_the_first_step():
    prompt = parse("um [gato:cão:0.5] (a:[1.2:0.8:3]) [céu|mar]")
    assert prompt.text == "um gato a céu"
    assert prompt.scheduled
    assert prompt.fragments == [("um gato ", 1.0), ("a", 1.2), (" céu", 1.0)]
    place = prompt.text.index("céu")
    assert prompt.source[prompt.to_source(place) :].startswith("céu")


def test_a_bracket_that_is_no_editing_is_pointed_at():
    (diagnostic,) = parse("[a:b:x]").diagnostics
    assert diagnostic.code == "edit-without-step"
    assert "[a:b:x]"[diagnostic.start : diagnostic.end] == "x"


@pytest.mark.parametrize("steps", [0, -3])
def test_too_few_steps_are_an_error(steps):
    with pytest.raises(SettingError, match=f"steps={steps}"):
        schedule("a", steps)
