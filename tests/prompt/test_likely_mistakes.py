"""Remarks on text that looks like a weight, and is none."""

import pytest

from promptweight.prompt import parse

DIALECTS = ["pw", "a1111"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("source", "code", "places", "meant"),
    [
        ("masterpiece:1.2, cat", "weight-unbracketed", ["masterpiece:1.2"], "(masterpiece:1.2)"),
        ("(red:1.2, blue:0.8)", "weight-unbracketed", ["red:1.2"], "(red:1.2)"),
        ("(smile, :3)", "weight-emoticon", [":3"], "\\:3"),
        ("（x：1.2）, gato", "weight-full-width", ["（x：1.2）"], "(x:1.2)"),
        ("[cat:1.2]", "weight-square", ["[cat:1.2]"], "(cat:1.2)"),
        ("a AND_PERP b", "and-keyword", ["AND_PERP"], "AND"),
        ("# um\n<lora:x:1>red:1.2, cat", "weight-unbracketed", ["red:1.2"], "(red:1.2)"),
    ],
)
def test_text_that_looks_like_a_weight_gets_a_remark(dialect, source, code, places, meant):
    found = [remark for remark in parse(source, dialect).diagnostics if remark.code == code]
    assert [source[remark.start : remark.end] for remark in found] == places
    assert all(meant in remark.message and meant in remark.message_pt for remark in found)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "source",
    [
        "(red:1.2), (blue:0.8)",
        "ratio 16:9, time 12:30, 2:1",
        "[cat:dog:0.5], [cat:0.5], [cat:8], [a|b]",
        "(smile:1.3), (smile, cat:1.2)",
        "https://example.org, \\(x:1.2\\)",
        "a AND b :0.5",
        "（x）",
        "<lora:x:1.2>, cat",
    ],
)
def test_text_that_is_meant_gets_none_of_these_remarks(dialect, source):
    codes = {remark.code for remark in parse(source, dialect).diagnostics}
    assert not codes & {
        "weight-unbracketed", "weight-emoticon", "weight-full-width", "weight-square", "and-keyword",
    }  # fmt: skip
