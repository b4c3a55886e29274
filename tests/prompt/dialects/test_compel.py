"""Operators of compel, from its documented examples; the goldens have the results of its own code."""

import pytest

from promptweight.prompt import parse, part_prompt, to_fragments


def compel_fragments(source):
    return [(text, round(weight, 6)) for text, weight in to_fragments(parse(source, "compel").at())]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a tall thin man picking apricots+", [("a tall thin man picking", 1.0), ("apricots", 1.1)]),
        ("picking (apricots)--", [("picking", 1.0), ("apricots", 0.81)]),
        ("(picking apricots+)++", [("picking", 1.21), ("apricots", 1.331)]),
        ("(picking (apricots)1.3)1.1", [("picking", 1.1), ("apricots", 1.43)]),
        ("blue-eyed C++ e-mail", [("blue-eyed", 1.0), ("C", 1.21), ("e-mail", 1.0)]),
        ("(a + b)", [("(a + b)", 1.0)]),
        ("(cat))", [("cat )", 1.0)]),
        ("(cat:1.2)", [("cat:1 . 2", 1.0)]),
        ("(cat)-1", [("cat", 0.9), ("1", 1.0)]),
        ("((((((((cat))))))))+", [("cat", 1.1)]),
    ],
)
def test_parse_gives_the_expected_weights(source, expected):
    assert compel_fragments(source) == expected


def test_parse_separates_spans_by_gaps():
    prompt = parse("a tall man (picking apricots)+ now", "compel").at()
    assert prompt.text == "a tall man picking apricots now"
    assert [span.origin for span in prompt.spans] == ["none", "gap", "plus", "gap", "none"]


def test_parse_and_gives_separate_parts():
    prompt = parse('("a cat+", "a dog").and(1, 0.5)', "compel").at()
    assert [(part.text, part.weight, part.blend) for part in prompt.parts] == [
        ('"a cat+"', 1.0, None),
        ('"a dog"', 0.5, None),
    ]
    assert prompt.text == "a cat a dog"
    assert prompt.breaks == (6,)
    assert [to_fragments(part_prompt(prompt, part)) for part in prompt.parts] == [
        [("a", 1.0), ("cat", pytest.approx(1.1))],
        [("a dog", 1.0)],
    ]


def test_parse_blend_gives_parts_of_one_blend():
    prompt = parse('("blue sphere", "red cube").blend(0.25, 0.75, no_normalize)', "compel").at()
    assert [(part.weight, part.blend, part.normalize) for part in prompt.parts] == [
        (0.25, 0, False),
        (0.75, 0, False),
    ]


def test_parse_swap_gives_original_edited_and_options():
    prompt = parse("a cat.swap(smiling dog, s_end=0.3) on a car", "compel").at()
    (swap,) = prompt.swaps
    assert prompt.text[swap.clean_start : swap.clean_end] == "cat"
    assert prompt.source[swap.start : swap.end] == "cat.swap(smiling dog, s_end=0.3)"
    assert swap.edited == (("smiling dog", 1.0),)
    assert dict(swap.options) == {"s_start": 0.0, "s_end": 0.3, "t_start": 0.2, "t_end": 1.0}
    assert parse("(a.swap(b+))1.5", "compel").at().swaps[0].edited == (("b", pytest.approx(1.65)),)
    free = parse("a cat.swap(dog, shape_freedom=0.125)", "compel").at().swaps[0]
    assert dict(free.options)["s_end"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ('("a", "b").blend(1, 2) and more', "operator-rest"),
        ('("a", "b").and(1) and more', "operator-rest"),
        ('("a", "b").and(1)', "operator-counts"),
        ('("a", "b").blend(x, y)', "operator-counts"),
        ("(a (b", "unclosed-text"),
        ('a "b', "quote-unclosed"),
    ],
)
def test_parse_text_that_compel_loses_keeps_it_with_a_remark(source, code):
    prompt = parse(source, "compel").at()
    assert code in [diagnostic.code for diagnostic in prompt.diagnostics]
    for word in ("and more", "(b", '"b'):
        if source.endswith(word):
            assert word.split()[-1].strip('"(') in prompt.text
