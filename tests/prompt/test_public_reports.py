"""Prompts as users have them, from public reports about other tools (`tests/README.md`)."""

import pytest

from promptweight.prompt import adjust_weight, convert, detect, make_timeline, parse, schedule

DIALECTS = ["pw", "a1111", "comfy"]


def remarks_on(text, dialect="pw"):
    return [(each.code, text[each.start : each.end]) for each in parse(text, dialect).diagnostics]


def weights(text, dialect="pw"):
    spans = parse(text, dialect).at().spans
    return {span.text.strip(" ,\n"): pytest.approx(span.weight) for span in spans if span.text.strip(" ,\n")}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("text", "code", "place", "meant"),
    [
        ("(x：1.2), b", "weight-full-width", "(x：1.2)", "(x:1.2)"),
        ("（x:1.2）, b", "weight-full-width", "（x:1.2）", "(x:1.2)"),
        ("(x:1.2）, b", "weight-full-width", "(x:1.2）", "(x:1.2)"),
        ("（x：1.2）, b", "weight-full-width", "（x：1.2）", "(x:1.2)"),
        ("(x;1.2), b", "weight-signs", "(x;1.2)", "(x:1.2)"),
        ("(x=1.2), b", "weight-signs", "(x=1.2)", "(x:1.2)"),
        ("(red hat*1.2)", "weight-signs", "(red hat*1.2)", "(red hat:1.2)"),
        ("(1.2:x), b", "weight-signs", "(1.2:x)", "(x:1.2)"),
        ("{x:1.2}, b", "weight-signs", "{x:1.2}", "(x:1.2)"),
        ("a\u200bb, c", "invisible", "\u200b", "U+200B"),
        ("\ufeffa cat", "invisible", "\ufeff", "U+FEFF"),
        ("(x:1.2\u200b)", "invisible", "\u200b", "zero width space"),
        ("a cat\nNegative prompt: dog", "pasted-infotext", "Negative prompt: ", "Negative prompt"),
        ("a cat\nSteps: 20, Sampler: Euler", "pasted-infotext", "Steps: 20, ", "Steps: 20"),
        ('{"prompt": "a cat", "steps": 20}', "pasted-json", '{"prompt":', "JSON"),
        ('[{"prompt": "a cat"}]', "pasted-json", '[{"prompt":', "JSON"),
        ("1girl &lt;lora:x:1", "pasted-entity", "&lt;", "<"),
        ("a cat &amp; a dog", "pasted-entity", "&amp;", "&"),
        ("a cat --ar 16:9", "pasted-midjourney", "--ar", "Midjourney"),
        ("a cat::2 dog", "pasted-midjourney", "::2", "Midjourney"),
    ],
)
def test_text_that_is_not_what_it_seems_gets_a_remark(dialect, text, code, place, meant):
    found = [each for each in parse(text, dialect).diagnostics if each.code == code]
    assert [text[each.start : each.end] for each in found] == [place]
    assert all(each.severity == "warning" and meant in each.message for each in found)
    assert meant in found[0].message_pt or code == "pasted-infotext"


@pytest.mark.parametrize("dialect", ["pw", "a1111"])
def test_doubled_escape_gets_a_remark(dialect):
    found = remarks_on(r"shrug \\(clothing\\)", dialect)
    assert ("pasted-escape", "\\\\(") in found
    assert ("pasted-escape", "\\\\)") in found
    assert remarks_on(r"shrug \(clothing\)", dialect) == []


def test_tag_that_is_text_gets_a_remark():
    assert remarks_on("cat <lora:ink:0.8>", "comfy") == [("tag-comfy", "<lora:ink:0.8>")]
    assert remarks_on("cat < lora:ink:0.8>") == [("tag-loose", "< lora:ink:0.8>")]
    assert remarks_on("cat <lora:ink:0.8>") == []


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", ["1,2", "1.2.3", "1/2", "1.2x", "−0.5", "1. 2"])
def test_number_in_another_form_gets_a_remark(dialect, value):
    text = f"(x:{value}), b"
    assert remarks_on(text, dialect) == [("weight-unreadable", value)]
    assert weights(text, dialect) == {f"x:{value}": 1.1, "b": 1}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "text",
    ["(x: 1.2 )", "(x:\u00a01.2)", "(x:1.2\u00a0)", "(x:\t1.2)", "(x:1.2\n)", "(x:\u20091.2)", "(x:1.20)"],
)
def test_white_space_around_a_number_is_no_obstacle(dialect, text):
    assert weights(text, dialect) == {"x": 1.2}
    assert remarks_on(text, dialect) == []


@pytest.mark.parametrize("dialect", ["pw", "a1111"])
def test_prompt_of_tags_with_bare_and_numbered_brackets(dialect):
    text = "score_9, score_8_up, (((1girl))), (blue eyes:1.2), ((red hair:1.3)), <lora:add_detail:0.8>"
    assert weights(text, dialect) == {
        "score_9, score_8_up": 1, "1girl": 1.331, "blue eyes": 1.2, "red hair": 1.43,
    }  # fmt: skip
    assert remarks_on(text, dialect) == []
    assert [(lora.name, lora.weight) for lora in parse(text, dialect).loras] == [("add_detail", 0.8)]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "text", ["(😀:1.2)", "(👩‍🚀:1.2)", "(قطة:1.2)", "(“cat” it’s:1.2)", "(می‌خواهم:1.2)", "(ｃａｔ、猫:1.2)"]
)
def test_emoji_quotes_and_scripts_of_any_direction_are_weighted(dialect, text):
    assert weights(text, dialect) == {text[1:-5]: 1.2}
    assert remarks_on(text, dialect) == []


def test_adjust_weight_after_emoji_keeps_its_place():
    text = "👩‍🚀 😀, colorful"
    start = text.index("colorful")
    assert adjust_weight(text, start, len(text)) == ("👩‍🚀 😀, (colorful:1.1)", start + 1, start + 9)


@pytest.mark.parametrize("dialect", ["pw", "a1111"])
def test_lines_of_windows_are_lines(dialect):
    prompt = parse("(a:1.2)\r\nBREAK\r\n(b:0.8)\r\n# c\r\nd", dialect).at()
    spans = [(span.text.strip(), span.weight) for span in prompt.spans if span.text.strip()]
    assert spans == [("a", 1.2), ("b", 0.8), ("d", 1.0)]
    assert len(prompt.breaks) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_prompt_of_thousands_of_words_keeps_its_weights(dialect):
    text = "".join(f"word{number} (thing{number}:1.2), " for number in range(3_000))
    prompt = parse(text, dialect).at()
    assert sum(span.weight == 1.2 for span in prompt.spans) == 3_000
    assert prompt.diagnostics == ()


def test_edit_begins_one_step_after_its_number_in_a1111():
    timeline = make_timeline(parse("[a:b:5]", "a1111").at(), 10)
    texts = [timeline.variants[timeline.at(step)[0][0]].text for step in range(10)]
    assert texts == ["a"] * 6 + ["b"] * 4


@pytest.mark.parametrize("dialect", ["pw", "a1111"])
def test_alternation_and_editing_act_together(dialect):
    assert schedule("[a|b] [c:d:2]", 4, dialect) == [(1, "a c"), (2, "b c"), (3, "a d"), (4, "b d")]


def test_weights_of_novelai_are_found_and_converted():
    text = "1girl, 1.2::artist:jp06 ::, {{rain}}, -1::hat::"
    assert detect(text).dialect == "novelai"
    assert convert(text, "novelai", "a1111").text == "1girl, (artist:jp06:1.2), (rain:1.1025), (hat:-1)"
