"""Remarks of the parsers: ranges, number and messages."""

import re

import pytest

from promptweight.prompt import diagnostics, parse


@pytest.mark.parametrize(
    ("source", "found", "place"),
    [
        ("(gato", "unclosed-group", "("),
        ("gato)", "stray-closer", ")"),
        ("(ratio 16:9)", "weight-ratio", ":9"),
        ("(a:1,2)", "weight-unreadable", "1,2"),
        ("(a:nan)", "weight-unreadable", "nan"),
        ("(a:9.5)", "weight-large", "9.5"),
        ("a () b", "empty-group", "()"),
        ("(a [b) c]", "crossed-groups", ")"),
        ("(a BREAK b)", "break-in-group", "BREAK"),
        ("a|b", "bar-outside", "|"),
        ("# um\na", "comment", "# um\n"),
        ("[a|b]", "scheduled", "[a|b]"),
    ],
)
def test_parse_odd_text_gets_a_remark_at_its_range(source, found, place):
    (diagnostic,) = [diagnostic for diagnostic in parse(source).at().diagnostics if diagnostic.code == found]
    assert source[diagnostic.start : diagnostic.end] == place


def test_remarks_beyond_the_maximum_are_counted():
    prompt = parse("(a] " * 5_000).at()
    assert len(prompt.diagnostics) <= 201
    assert prompt.diagnostics[-1].code == "more"


def test_messages_have_the_same_fields_in_both_languages():
    fields = re.compile(r"\{(\w+)")
    for severity, english, portuguese in diagnostics.MESSAGES.values():
        assert severity in ("info", "warning", "error")
        assert sorted(fields.findall(english)) == sorted(fields.findall(portuguese))


def test_edit_without_a_step_gets_a_remark_at_the_value():
    (diagnostic,) = parse("[a:b:x]").at().diagnostics
    assert diagnostic.code == "edit-without-step"
    assert "[a:b:x]"[diagnostic.start : diagnostic.end] == "x"
