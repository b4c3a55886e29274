"""Brackets of ComfyUI, against an implementation written directly from its rules."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.prompt import parse, to_fragments


def split_outermost(text):
    """Split at the outermost brackets, as ComfyUI counts them: below zero, brackets only count."""
    pieces, start, level = [], 0, 0
    for place, mark in enumerate(text):
        if mark == "(":
            if level == 0:
                pieces.append(text[start:place])
                start = place
            level += 1
        elif mark == ")":
            level -= 1
            if level == 0:
                pieces.append(text[start : place + 1])
                start = place + 1
    return [piece for piece in [*pieces, text[start:]] if piece]


def weigh_by_the_rules(text, weight=1.0):
    """Outermost groups first, then each inside by the same rules; a number replaces the enclosing weight."""
    for piece in split_outermost(text):
        if not (len(piece) > 1 and piece[0] == "(" and piece[-1] == ")"):
            yield piece, weight
            continue
        inner, inner_weight = piece[1:-1], weight * 1.1
        text_before, colon, number = inner.rpartition(":")
        if colon and text_before:
            with suppress(ValueError):
                inner_weight, inner = float(number), text_before
        yield from weigh_by_the_rules(inner, inner_weight)


@given(
    st.lists(st.sampled_from(["(", ")", "(", ")", "a", "b ", ":", ":1.5", "2", "(c:0.5)", " "]), max_size=24)
)
def test_parse_any_brackets_matches_the_rules(pieces):
    text = "".join(pieces)
    found = [(span.text, round(span.weight, 9)) for span in parse(text, "comfy").at().spans]
    assert found == [(piece, round(weight, 9)) for piece, weight in weigh_by_the_rules(text)]


@pytest.mark.parametrize(
    ("source", "fragments"),
    [
        ("(a (b:1.5):1.2)", [("a ", 1.2), ("b", 1.5)]),
        ("((a))", [("a", 1.21)]),
        ("a) (b)", [("a) (b)", 1.0)]),
        ("((a)", [("(a", 1.1)]),
        ("(a:1_000)", [("a", 1000.0)]),
        ("(a:inf)", [("a:inf", 1.1)]),
        ("(a:nan)", [("a:nan", 1.1)]),
        (r"\(a\) \[b\]", [(r"(a) \[b\]", 1.0)]),
        ("a BREAK [b] AND <lora:c:1> # d", [("a BREAK [b] AND <lora:c:1> # d", 1.0)]),
    ],
)
def test_parse_gives_the_expected_fragments(source, fragments):
    found = to_fragments(parse(source, "comfy").at())
    assert [text for text, _ in found] == [text for text, _ in fragments]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in fragments])


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("a)", "stray-closer"),
        ("a) (b)", "stray-disables"),
        ("(a", "unclosed-text"),
        ("(a:inf)", "weight-unreadable"),
        ("(ratio 16:9)", "weight-ratio-fixed"),
        ("(a:30)", "weight-large"),
        ("()", "empty-group"),
    ],
)
def test_parse_odd_text_gets_a_remark(source, code):
    assert code in [diagnostic.code for diagnostic in parse(source, "comfy").at().diagnostics]
