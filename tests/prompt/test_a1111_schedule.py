"""Schedules of prompt editing and alternation: documented examples of A1111, and the extensions of `pw`."""

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
def test_schedule_edit_changes_after_its_step(source, expected, dialect):
    assert schedule(source, 10, dialect) == expected


def test_schedule_alternation_takes_turns():
    assert schedule("[fe|||]male", 5) == [(1, "female"), (2, "male"), (3, "male"), (4, "male"), (5, "female")]
    assert schedule("[a|[b:c:2]]", 4) == [(1, "a"), (2, "b"), (3, "a"), (4, "c")]


def test_schedule_second_pass_continues_counting():
    assert schedule("[a:b:15]", 10, second_pass_steps=10) == [(5, "a"), (10, "b")]
    assert schedule("[a:b:1.5]", 10, second_pass_steps=10) == [(5, "a"), (10, "b")]
    assert schedule("[a:b:0.5]", 10, second_pass_steps=10) == [(10, "b")]


def test_schedule_old_scheduling_takes_numbers_below_one_as_fractions():
    assert schedule("[a:b:1.5]", 10, use_old_scheduling=True) == [(1, "a"), (10, "b")]
    assert schedule("[a:b:0.5]", 10, use_old_scheduling=True, second_pass_steps=4) == [(5, "a"), (10, "b")]


def test_schedule_stray_bar_stops_editing_in_a1111_only():
    assert schedule("[a:b:5] c|d", 10, "a1111") == [(10, "[a:b:5] c|d")]
    assert schedule("[a:b:5] c|d", 10, "pw") == [(5, "a c|d"), (10, "b c|d")]


def test_schedule_comments_and_tags_are_opaque_in_pw():
    assert schedule("[<lora:x:0.5>::5]y", 10) == [(5, "<lora:x:0.5>y"), (10, "y")]
    assert schedule("# [a:b:5]\nc", 10) == [(10, "# [a:b:5]\nc")]


@pytest.mark.parametrize("dialect", ["comfy", "compel", "plain"])
def test_schedule_other_dialects_have_one_text(dialect):
    assert schedule("[a:b:5]", 10, dialect) == [(10, "[a:b:5]")]


@pytest.mark.parametrize("steps", [0, -3])
def test_schedule_too_few_steps_raises_setting_error(steps):
    with pytest.raises(SettingError, match=f"steps must be at least 1; got {steps}"):
        schedule("a", steps)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("\\<a:1>[:0]", [(2, "\\<a:1>[:0]")]),
        ("\\# a", [(2, "\\# a")]),
        ("[a:b:<c:1>1]", [(1, "a"), (2, "b")]),
        ("[a<c:1>:b:1]", [(1, "a<c:1>"), (2, "b")]),
    ],
)
def test_schedule_around_a_tag_matches_the_parse_tree(source, expected):
    assert schedule(source, 2) == expected
    tree = parse(source)
    assert [tree.at(last, 2).text for last, _ in expected] == [parse(text).at().text for _, text in expected]
