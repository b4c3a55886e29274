"""Parts of `pw` and `a1111`, and the differences between the two."""

import pytest

from promptweight.prompt import convert, parse, part_prompt, to_fragments


def test_parse_and_in_pw_splits_outside_of_groups():
    prompt = parse("um gato :1.2 AND (um AND rato:2) AND céu:-0.5").at()
    assert [(part.text, part.weight) for part in prompt.parts] == [
        ("um gato", 1.2),
        ("(um AND rato:2)", 1.0),
        ("céu", -0.5),
    ]
    assert prompt.text == "um gato um AND rato céu"
    assert prompt.breaks == (8, 20)
    assert [to_fragments(part_prompt(prompt, part)) for part in prompt.parts] == [
        [("um gato", 1.0)],
        [("um AND rato", 2.0)],
        [("céu", 1.0)],
    ]
    assert [prompt.source[part.start : part.end] for part in prompt.parts] == [
        part.text for part in prompt.parts
    ]
    assert [remark.code for remark in parse("(um AND rato:2)").diagnostics] == ["and-in-group"]


def test_parse_number_at_the_end_of_a_single_part_keeps_it_as_text():
    assert parse("ratio 16:9").at().text == "ratio 16:9"
    assert parse("ratio 16:9", "a1111").at().text == "ratio 16:9"
    assert [remark.code for remark in parse("ratio 16:9", "a1111").diagnostics] == ["part-weight"]


def test_parse_lone_backslash_is_dropped_in_a1111_only():
    assert parse(r"C:\dir", "a1111").at().text == "C:dir"
    assert parse(r"C:\dir").at().text == r"C:\dir"


def test_parse_neighbors_of_equal_weight_are_joined_in_a1111_only():
    assert [span.text for span in parse("(unnecessary)(parens)", "a1111").at().spans] == ["unnecessaryparens"]
    assert [span.text for span in parse("(unnecessary)(parens)").at().spans] == ["unnecessary", "parens"]


@pytest.mark.parametrize("text", ["um gato:60% AND um rato:40%", "um gato :60% AND um rato : 40%"])
def test_weight_of_a_part_in_percent_is_read_in_pw_and_told_in_a1111(text):
    parts = parse(text).at().parts
    assert [(part.text, part.weight) for part in parts] == [("um gato", 0.6), ("um rato", 0.4)]
    told = parse(text, "a1111").at()
    assert [part.weight for part in told.parts] == [1, 1]
    assert [remark.code for remark in told.diagnostics] == ["part-percent", "part-percent"]
    assert [told.source[remark.start : remark.end] for remark in told.diagnostics] == [
        ":60%",
        text[text.rindex(":") :],
    ]


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("pw", "a1111", "um gato :0.6 AND um rato :0.4"),
        ("a1111", "pw", "um gato:60% :1 AND um rato:40% :1"),
    ],
)
def test_weight_of_a_part_in_percent_is_converted_by_its_meaning(source, target, text):
    assert convert("um gato:60% AND um rato:40%", source, target).text == text


def test_percent_at_the_end_of_a_single_part_is_text():
    assert parse("um gato:60%").at().text == "um gato:60%"
    assert parse("a:1e999% AND b", "a1111").at().text == "a:1e999%  b"
