"""NovelAI's weights in ComfyUI's syntax."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.metadata.novelai_weights import convert_novelai
from promptweight.prompt import parse


def weights(prompt):
    """Return the texts and weights of a prompt of NovelAI as promptweight reads them."""
    read = parse(convert_novelai(prompt), "comfy").at()
    assert read.diagnostics == ()
    return read.text, {
        span.text.strip(" ,"): pytest.approx(span.weight, abs=1e-6)
        for span in read.spans
        if span.text.strip(" ,")
    }


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
        ("1.5::a, {b}::, c", "a, b, c", {"a": 1.5, "b": 1.575, "c": 1}),
        ("2::a, .5::b, 3.::c", "a, b, c", {"a": 2, "b": 0.5, "c": 3}),
        ("-1::hat::, b", "hat, b", {"hat": -1, "b": 1}),
        ("0::hat::, b", "hat, b", {"hat": 0, "b": 1}),
        ("2::a", "a", {"a": 2}),
        ("{{}}", "", {}),
        ("", "", {}),
    ],
)  # fmt: skip
def test_weights_are_those_of_novelai(prompt, text, expected):
    assert weights(prompt) == (text, expected)


@pytest.mark.parametrize(
    "prompt",
    ["snow (deep)", "(fox:1.2)", "a (b", "c) d", r"a \(b\)", r"c:\folder", "BREAK", "a AND b", "# one",
     "a:1.2", "[", "<lora:x:1>", "__card__", "12:30", "a\nb"],
)  # fmt: skip
def test_signs_of_other_tools_are_text(prompt):
    text, found = weights(prompt)
    assert text == prompt.replace("[", "")
    assert all(weight == 1 for weight in found.values())


@pytest.mark.parametrize("prompt", ["{a\\}b", "a\\{b}", "{a:1.2}", "{(a:2)}", "{::}"])
def test_weighted_text_keeps_its_signs(prompt):
    text, _ = weights(prompt)
    assert text == prompt.replace("{", "").replace("}", "").replace("::", "")


@given(st.text(alphabet="{}[]:()\\.-12ab, \n", max_size=40))
def test_text_is_kept_without_brackets(prompt):
    read = parse(convert_novelai(prompt), "comfy").at()
    kept = str.maketrans("", "", "{}[]:.-12")
    assert read.text.translate(kept) == prompt.translate(kept)


@pytest.mark.parametrize(
    "prompt", ["{" * 200_000 + "a", "{a}" * 50_000, "1::" * 50_000, "1" * 200_000 + "::a"]
)
def test_long_prompt_takes_linear_time(prompt):
    start = time.process_time()
    convert_novelai(prompt)
    assert time.process_time() - start < 2
