"""Infotexts of AUTOMATIC1111, formatted and parsed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.metadata import format_infotext, parse_infotext
from promptweight.metadata.a1111 import EXTRA_TEXT

SETTINGS = {"Steps": 25, "Sampler": "DDIM", "CFG scale": 4.5, "Seed": 1, "Size": "64x64", "Model": "mini"}


def test_format_infotext_equals_create_infotext_of_automatic1111():
    # The format of processing.create_infotext in that tool.
    assert format_infotext("um (gato:1.4)", "feio", {**SETTINGS, "Clip skip": None, "Note": "a, b: c"}) == (
        "um (gato:1.4)\nNegative prompt: feio\n"
        'Steps: 25, Sampler: DDIM, CFG scale: 4.5, Seed: 1, Size: 64x64, Model: mini, Note: "a, b: c"'
    )
    assert "Negative prompt" not in format_infotext("gato", "", SETTINGS)
    scheduled = {**SETTINGS, "Sampler": "DPM++ 2M Karras"}
    assert "Sampler: DPM++ 2M, Schedule type: Karras, CFG scale" in format_infotext("gato", "", scheduled)


def test_parse_infotext_of_other_tools_gives_prompts_and_settings():
    text = (
        "masterpiece, (cat:1.2),\nby the sea\nNegative prompt: lowres,\nbad hands\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 512x768, Model hash: 6ce0161689, "
        'Lora hashes: "a: 1b, c: 2d", Version: v1.9.4'
    )
    prompt, negative, settings = parse_infotext(text)
    assert prompt == "masterpiece, (cat:1.2),\nby the sea"
    assert negative == "lowres,\nbad hands"
    assert settings == {
        "Steps": "20",
        "Sampler": "Euler a",
        "CFG scale": "7",
        "Seed": "42",
        "Size": "512x768",
        "Model hash": "6ce0161689",
        "Lora hashes": "a: 1b, c: 2d",
        "Version": "v1.9.4",
    }


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat, ratio 16:9",
        "(masterpiece:1.2), (best quality:1.3), (red fox:1.1)",
        "foreground: a cat, background: the sea, light: sunset, style: oil",
        "first line\n(a:1.1), (b:1.2), (c:1.3), (d:1.4)",
        "model: a woman, size: small, weather: fog",
        "Next Steps: 3, 2, 1",
    ],
)
@pytest.mark.parametrize("negative", ["", "(bad hands:1.2), (worst quality:1.4), (low quality:1.4)"])
def test_parse_infotext_without_settings_keeps_every_line(prompt, negative):
    text = f"{prompt}\nNegative prompt: {negative}" if negative else prompt
    assert parse_infotext(text) == (prompt, negative, {})


def test_settings_begin_at_the_line_that_begins_with_steps():
    prompt, negative, settings = parse_infotext(
        "a cat\nNegative prompt: bad\nSteps: 20, Sampler: Euler a, Seed: 1\nTemplate: a {red|blue} cat\n"
        "(a:1), (b:1), (c:1)"
    )
    assert (prompt, negative) == ("a cat", "bad")
    assert settings == {
        "Steps": "20", "Sampler": "Euler a", "Seed": "1",
        EXTRA_TEXT: "Template: a {red|blue} cat\n(a:1), (b:1), (c:1)",
    }  # fmt: skip


def test_line_of_a_prompt_that_begins_with_steps_is_not_the_settings():
    text = "Steps: up to the temple\na fox\nSteps: 20, Sampler: Euler, Seed: 1"
    assert parse_infotext(text) == (
        "Steps: up to the temple\na fox", "", {"Steps": "20", "Sampler": "Euler", "Seed": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("line_break", ["\r\n", "\n"])
def test_settings_in_another_order_or_on_several_lines_are_read(line_break):
    text = "a cat\nNegative prompt: bad\nSampler: Euler, CFG scale: 7, Seed: 1, Steps: 20"
    found = {"Sampler": "Euler", "CFG scale": "7", "Seed": "1", "Steps": "20"}
    assert parse_infotext(text.replace("\n", line_break)) == ("a cat", "bad", found)
    text = "a cat\nNegative prompt: bad\nSteps: 20\nSampler: Euler\nCFG scale: 7\nSeed: 1"
    assert parse_infotext(text.replace("\n", line_break)) == ("a cat", "bad", found)


@pytest.mark.parametrize("separator", [" ", ". ", ", "])
def test_settings_of_a_text_without_line_breaks_are_read(separator):
    parts = ["a cat, the sea", "Negative prompt: bad", "Steps: 20, Sampler: Euler, Seed: 1, Size: 8x8"]
    assert parse_infotext(separator.join(parts)) == (
        "a cat, the sea", "bad", {"Steps": "20", "Sampler": "Euler", "Seed": "1", "Size": "8x8"},
    )  # fmt: skip


def test_json_without_quotes_is_one_value():
    resources = [{"type": "lora", "weight": 0.8, "modelName": 'Detail, "Tweaker"'}, {"a": [1, 2]}]
    hashes = {"model": "abc", "lora:x": "def"}
    line = f"Civitai resources: {json.dumps(resources)}, Seed: 3, Hashes: {json.dumps(hashes)}, Eta: 1"
    _, _, settings = parse_infotext(f"a\nSteps: 2, {line}")
    assert json.loads(settings["Civitai resources"]) == resources
    assert json.loads(settings["Hashes"]) == hashes
    assert (settings["Steps"], settings["Seed"], settings["Eta"]) == ("2", "3", "1")


@pytest.mark.parametrize("value", ["[1, 2", "{x, y: 2}", "[", "{}{", "[a]"])
def test_bracket_that_is_not_json_is_text_up_to_the_comma(value):
    _, _, settings = parse_infotext(f"a\nSteps: 2, Note: {value}, Seed: 3")
    assert settings["Note"] == value.split(",")[0]
    assert settings["Seed"] == "3"


@pytest.mark.parametrize("shape", ["a: [", 'a: {"b": ', 'a: {"b": 1, ', 'a: ["x, ', "a: [[],[],", "[" * 50])
def test_damaged_json_is_decoded_a_limited_number_of_times(shape, monkeypatch):
    calls = []
    decode = json.JSONDecoder.raw_decode

    def count(self, text, start=0):
        calls.append(start)
        return decode(self, text, start)

    monkeypatch.setattr(json.JSONDecoder, "raw_decode", count)
    parse_infotext("x\nSteps: 1, " + shape * 2_000)
    assert len(calls) <= 40


def storable(text: str) -> str:
    """Return the text as an infotext can store it."""
    return format_infotext(text, "", {})


@given(st.dictionaries(st.sampled_from(["Steps", "Seed", "Model", "Note"]), st.text()))
def test_infotext_values_survive_a_round_trip(values):
    values = {name: storable(value).strip() for name, value in values.items()}
    line = format_infotext("x", "", {"Steps": "1", "Seed": "2", "Size": "8x8", **values}).split("\n", 1)[1]
    _, _, settings = parse_infotext("x\n" + line)
    assert {name: settings[name] for name in values} == values


@given(st.text())
def test_parse_infotext_never_raises(text):
    parse_infotext(text)


def test_parse_infotext_takes_time_linear_in_the_length():
    # Texts with which a backtracking parser reads the same characters again; reads are counted, not timed.
    shapes = [",x", ":", ", :", '"', '\\"', 'a:"', "a b ", 'a: "x\\", ', " "]
    for shape in shapes:
        reads = []
        for size in (2_000, 4_000):

            class Counted(str):
                __slots__ = ()
                characters = 0

                def strip(self, *characters):
                    return Counted(str.strip(self, *characters))

                def split(self, *separator):
                    return [Counted(part) for part in str.split(self, *separator)]

                def __getitem__(self, at):
                    Counted.characters += len(range(*at.indices(len(self)))) if isinstance(at, slice) else 1
                    return str.__getitem__(self, at)

                def find(self, sub, start=0, *rest):
                    end = str.find(self, sub, start, *rest)
                    Counted.characters += (len(self) if end < 0 else end) - start + 1
                    return end

            parse_infotext(Counted("x" + shape * size + "a: b"))
            reads.append(Counted.characters)
        assert reads[0] >= 2_000 * len(shape)
        assert reads[1] < 2.5 * reads[0] + 100, shape
