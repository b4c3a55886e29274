"""NovelAI's weights, against an implementation that reads character by character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.prompt import DIALECTS, convert, detect, parse, write
from promptweight.prompt.weight_editing import set_weight

DIGITS = "0123456789"


def read_number(text, place):
    """Return the number that ends at `place`, where "::" begins, and its start; None where there is none."""
    start = place
    while start and text[start - 1] in DIGITS + ".":
        start -= 1
    digits = text[start:place]
    if digits.count(".") > 1 or not any(digit in DIGITS for digit in digits):
        return None
    if start and text[start - 1] in "+-":
        before = text[start - 2 : start - 1]
        if not (before.isalnum() or before == "_" or before == "."):
            start -= 1
    before = text[start - 1 : start]
    return None if before.isalnum() or before == "_" else (float(text[start:place]), start)


def weigh_by_the_rules(text):
    """Return (character, weight) pairs: every mark acts on all the text after it, and "::" ends all."""
    weighed, number, level = [], 1.0, 0
    opened, ended = {"{": 0, "[": 0}, {"{": 0, "[": 0}
    place = 0
    while place < len(text):
        if text.startswith("::", place):
            found = read_number(text, place)
            if found is not None:
                number = found[0]
                del weighed[len(weighed) - (place - found[1]) :]
            else:
                if text[place - 1 : place] == " ":
                    weighed.pop()
                number, level = 1.0, 0
                for bracket in opened:
                    ended[bracket] += opened[bracket]
                    opened[bracket] = 0
            place += 2
            continue
        sign = text[place]
        if sign in "{[":
            opened[sign] += 1
            level += 1 if sign == "{" else -1
        elif sign in "}]":
            bracket = "{" if sign == "}" else "["
            if not opened[bracket] and ended[bracket]:
                ended[bracket] -= 1
            else:
                opened[bracket] = max(0, opened[bracket] - 1)
                level += 1 if sign == "]" else -1
        else:
            weighed.append((sign, number * 1.05**level))
        place += 1
    return weighed


def read_weights(text):
    """Return (character, weight) pairs of promptweight."""
    spans = parse(text, "novelai").at().spans
    return [(sign, pytest.approx(span.weight)) for span in spans for sign in span.text]


@given(
    st.lists(st.sampled_from(["{", "}", "[", "]", "::", "1.2::", "-1::", ".5::", "a", "b ", ", "])).map(
        "".join
    )
)
def test_weights_follow_the_rules(text):
    assert weigh_by_the_rules(text) == read_weights(text)


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("{{fox}}, snow, [blur]", "fox, snow, blur", {"fox": 1.05**2, "snow": 1, "blur": 1 / 1.05}),
        ("{a {b} c}", "a b c", {"a": 1.05, "b": 1.05**2, "c": 1.05}),
        ("{a [b] c}", "a b c", {"a": 1.05, "b": 1, "c": 1.05}),
        ("{a, [b}, c] d", "a, b, c d", {"a": 1.05, "b": 1, "c": 1 / 1.05, "d": 1}),
        ("{a, b", "a, b", {"a, b": 1.05}),
        ("a}], [b", "a, b", {"a": 1, "b": 1 / 1.05}),
        ("1.5::red hat::, b", "red hat, b", {"red hat": 1.5, "b": 1}),
        ("1girl, 1.5::rain, night ::, 0.5::coat ::, shoes", "1girl, rain, night, coat, shoes",
         {"1girl": 1, "rain, night": 1.5, "coat": 0.5, "shoes": 1}),
        ("1.5::a, {b}::, c", "a, b, c", {"a": 1.5, "b": 1.575, "c": 1}),
        ("{1.5::a}::, c", "a, c", {"a": 1.575, "c": 1}),
        ("1.5::{{a::, c", "a, c", {"a": 1.5 * 1.05**2, "c": 1}),
        ("{1.5::a::, b}, c", "a, b, c", {"a": 1.575, "b, c": 1}),
        ("{{{a::, c", "a, c", {"a": 1.05**3, "c": 1}),
        ("2::a, .5::b, 3.::c", "a, b, c", {"a": 2, "b": 0.5, "c": 3}),
        ("-1::hat::, b", "hat, b", {"hat": -1, "b": 1}),
        ("{-1::hat::}, b", "hat, b", {"hat": -1.05, "b": 1}),
        ("0::hat::, b", "hat, b", {"hat": 0, "b": 1}),
        ("2::as109 ::, b", "as109, b", {"as109": 2, "b": 1}),
        ("2::a", "a", {"a": 2}),
        ("{{}}", "", {}),
        ("", "", {}),
    ],
)  # fmt: skip
def test_weights_are_those_of_novelai(prompt, text, expected):
    read = parse(prompt, "novelai").at()
    found = {
        span.text.strip(" ,"): pytest.approx(span.weight, abs=1e-9)
        for span in read.spans
        if span.text.strip(" ,")
    }
    assert (read.text, expected) == (text, found)


@pytest.mark.parametrize(
    "prompt",
    ["snow (deep)", "(fox:1.2)", "a (b", "c) d", r"a \(b\)", r"c:\folder", "BREAK", "a AND b", "# one",
     "a:1.2", "<lora:x:1>", "__card__", "12:30", "a\nb", "2025", "{a\\}b", "{a:1.2}", "{(a:2)}"],
)  # fmt: skip
@pytest.mark.parametrize("target", ["pw", "a1111", "comfy"])
def test_signs_of_other_tools_are_text(prompt, target):
    text = prompt.replace("{", "").replace("}", "")
    assert parse(prompt, "novelai").at().text == text
    converted = convert(prompt, "novelai", target)
    if "#" not in prompt:
        assert parse(converted.text, target).at().text == text
        assert converted.losses == ()


@pytest.mark.parametrize(
    ("source", "dialect", "written"),
    [
        ("(a:1.2), [b]", "a1111", "1.2::a::, 0.909091::b::"),
        ("a(b:1.2)", "a1111", "a{}1.2::b::"),
        ("year 2025(b:1.2) -(c:2)", "a1111", "year 2025{}1.2::b:: -{}2::c::"),
        ("(year 2025:1.2), b", "comfy", "1.2::year 2025 ::, b"),
        ("(a :1.2)b", "comfy", "1.2::a  ::b"),
        ("(a\\::1.2):b", "pw", "1.2::a: :::b"),
        ("hat-, cat++", "compel", "0.9::hat:: , 1.21::cat::"),
        ("(a:-1.5)", "pw", "-1.5::a::"),
        ("(a:1e-5)", "pw", "0.00001::a::"),
        ("(a:1e30)", "pw", "1000000000000000019884624838656::a::"),
    ],
)
def test_convert_into_novelai_keeps_text_and_weights(source, dialect, written):
    converted = convert(source, dialect, "novelai")
    assert (converted.text, converted.losses) == (written, ())


@pytest.mark.parametrize(
    ("source", "dialect", "codes", "written"),
    [
        ("a {x} \\[y\\]", "pw", ["lost-marks"], "a x y"),
        ("std::vector", "comfy", ["lost-marks"], "std:vector"),
        ("[a:b:3]", "a1111", ["lost-schedule"], "a"),
        ("a AND b", "pw", ["lost-parts"], "a b"),
        ("a BREAK b", "pw", ["lost-break"], "a b"),
        ("a<lora:x:1>", "pw", ["lost-tag"], "a"),
        ("(a:1.4{steps=0-0.5})", "pw", ["lost-options"], "1.4::a::"),
    ],
)
def test_convert_into_novelai_tells_the_losses(source, dialect, codes, written):
    converted = convert(source, dialect, "novelai")
    assert ([loss.code for loss in converted.losses], converted.text) == (codes, written)


@pytest.mark.parametrize("dialect", [dialect for dialect in DIALECTS if dialect not in ("novelai", "plain")])
def test_convert_there_and_back_keeps_the_weights(dialect):
    source = "{{red fox}}, snow 2025, [blurry], 1.2::hat, year 2024 ::, 0::cat::"
    there = convert(source, "novelai", dialect)
    back = convert(there.text, dialect, "novelai")
    assert (there.losses, back.losses) == ((), ())
    expected = "1.1025::red fox::, snow 2025, 0.952381::blurry::, 1.2::hat, year 2024 ::, 0::cat::"
    if dialect == "compel":  # which puts spaces around its groups
        assert back.text.replace(" ", "") == expected.replace(" ", "")
    else:
        assert back.text == expected


@pytest.mark.parametrize(
    ("prompt", "codes"),
    [
        ("{a", ["unclosed-group"]),
        ("1.2::a", ["unclosed-group"]),
        ("a}", ["novelai-stray"]),
        ("{1.2::a::}", ["novelai-closed"]),
        ("a ::b", ["novelai-colons"]),
        ("1.2::as109::", ["novelai-digit"]),
        ("7::a::", ["weight-large"]),
        ("(a:1.2), b", ["novelai-round"]),
        ("2girls | girl | boy", ["novelai-bar"]),
        ("1.5::rain ::, {a}, [b]", []),
    ],
)
def test_unusual_syntax_gets_a_remark(prompt, codes):
    assert [remark.code for remark in parse(prompt, "novelai").diagnostics] == codes


@pytest.mark.parametrize("dialect", ["pw", "a1111", "comfy"])
@pytest.mark.parametrize(
    ("prompt", "place", "meant"),
    [
        ("{{red fox}}, snow", "{{red fox}}", "(red fox:1.1025)"),
        ("{fox}", "{fox}", "(fox:1.05)"),
        ("a, 1.2::hat ::, b", "1.2::hat ::", "(hat:1.2)"),
        ("-1::hat::", "-1::hat::", "(hat:-1)"),
    ],
)
def test_weight_of_novelai_in_another_dialect_gets_a_remark(dialect, prompt, place, meant):
    found = [remark for remark in parse(prompt, dialect).diagnostics if remark.code == "weight-novelai"]
    assert [prompt[remark.start : remark.end] for remark in found] == [place]
    assert meant in found[0].message
    assert meant in found[0].message_pt


@pytest.mark.parametrize(
    "prompt", ["{a|b}", "{3::a|b}", "{2$$a|b}", "(a:1{steps=0-1})", "std::vector", r"\{a\}"]
)
def test_braces_and_colons_of_other_syntax_get_no_such_remark(prompt):
    assert "weight-novelai" not in [remark.code for remark in parse(prompt).diagnostics]
    assert detect(prompt).dialect != "novelai"


@pytest.mark.parametrize(
    "prompt", ["{{red fox}}, snow, [blurry]", "1.2::hat::, cat", "-1::hat ::", "{fox}, cat"]
)
def test_detect_finds_novelai(prompt):
    assert detect(prompt).dialect == "novelai"


def test_write_has_every_weight_as_a_number():
    assert write(parse("{{a}} [b, 1.2::{c}", "novelai")) == "1.1025::a:: 0.952381::b,  ::1.2::c::"


@pytest.mark.parametrize(
    ("prompt", "written"),
    [
        ("um gato, {{rato}}", "um 0.5::gato::, 1.1025::rato::"),
        ("1.2::um gato::, gato", "1.2::um  ::0.5::gato::, 0.5::gato::"),
        ("um peixe", "um peixe"),
    ],
)
def test_set_weight_of_a_phrase(prompt, written):
    assert set_weight(prompt, "gato", 0.5, "novelai") == written
