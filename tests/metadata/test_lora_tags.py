"""LoRAs of an image as tags in its prompt."""

import pytest

from promptweight.metadata import GenerationInfo, LoraUse, name_loras
from promptweight.prompt import parse


def build(prompt, dialect, *loras, **fields):
    return GenerationInfo("Tool", prompt, dialect=dialect, loras=loras, **fields)


@pytest.mark.parametrize("dialect", ["pw", "a1111"])
@pytest.mark.parametrize("prompt", ["a (fox:1.2)", "", "a AND b :1.5", "a\n# note", "# note", "a:1.2", "a\\"])
def test_tags_follow_a_prompt_of_a_dialect_with_tags(prompt, dialect):
    named = name_loras(build(prompt, dialect, LoraUse("ink", 0.8, 0.8), LoraUse("oil v1.2", -0.5, -0.5)))
    before, after = parse(prompt, dialect).at(), parse(named.prompt, dialect).at()
    assert [(lora.name, lora.weight) for lora in after.loras] == [("ink", 0.8), ("oil v1.2", -0.5)]
    assert (after.text.rstrip(), after.scheduled) == (before.text.rstrip(), before.scheduled)
    assert [part.weight for part in after.parts] == [part.weight for part in before.parts]
    assert (named.dialect, named.loras, dict(named.options)) == (dialect, (), {})


@pytest.mark.parametrize(
    ("dialect", "prompt", "weighting", "text", "weights"),
    [
        ("comfy", "(fox:1.2), [snow] | #1", "comfy", "fox, [snow] | #1", {1.2, 1}),
        ("comfy", "a AND b BREAK <x:1>", "comfy", "a AND b BREAK <x:1>", {1}),
        ("compel", "a fox++ in snow", "compel", "a fox in snow", {1, 1.21}),
        ("plain", "a (fox:1.2)", "presence", "a (fox:1.2)", {1}),
    ],
)
def test_prompt_of_another_dialect_keeps_text_weights_and_weighting(
    dialect, prompt, weighting, text, weights
):
    info = build(prompt, dialect, LoraUse("ink", 0.8, 0.8), negative_prompt=prompt)
    named = name_loras(info)
    assert (named.dialect, named.options["weighting"], named.loras) == ("pw", weighting, ())
    for written in (named.prompt, named.negative_prompt):
        read = parse(written, "pw").at()
        found = {round(span.weight, 6) for span in read.spans if span.text.strip()}
        assert (read.text, found) == (text, weights)
    assert [lora.name for lora in parse(named.prompt, "pw").at().loras] == ["ink"]
    assert "<lora" not in named.negative_prompt


def test_weighting_of_the_image_stays():
    info = build("(fox:1.2)", "comfy", LoraUse("ink"), options={"weighting": "a1111", "seed": 7})
    assert name_loras(info).options == {"weighting": "a1111", "seed": 7}


def test_two_weights_are_those_of_the_text_encoder_and_of_the_denoiser():
    assert name_loras(build("a", "a1111", LoraUse("ink", 0.8, 0.0))).prompt == "a<lora:ink:0:0.8>"
    assert name_loras(build("a", "a1111", LoraUse("ink", 1.0, 1e-9))).prompt == "a<lora:ink:0:1>"


@pytest.mark.parametrize("name", ["a:b", "a<b", "a>b", "a\nb"])
def test_lora_whose_name_fits_in_no_tag_stays(name):
    odd = LoraUse(name)
    named = name_loras(build("a", "a1111", odd, LoraUse("ink")))
    assert (named.prompt, named.loras) == ("a<lora:ink:1>", (odd,))
    info = build("(a:1.2)", "comfy", odd)
    assert name_loras(info) is info


def test_prompt_without_loras_stays():
    info = build("(a:1.2)", "comfy")
    assert name_loras(info) is info


@pytest.mark.parametrize("prompt", ['("a cat", "a dog").blend(1, 0.5)', "a cat.swap(dog)"])
def test_prompt_that_a_conversion_would_change_stays(prompt):
    info = build(prompt, "compel", LoraUse("ink"))
    assert name_loras(info) is info
    info = build("a cat", "compel", LoraUse("ink"), negative_prompt=prompt)
    assert name_loras(info) is info
