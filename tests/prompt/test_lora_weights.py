"""Weights of network tags: apart for text encoders and denoiser, and by step."""

import numpy as np
import pytest

from promptweight.prompt import convert, parse, write
from promptweight.prompt.lora_weights import lora_weight_at, read_tag_weights


def a1111_weights(values):
    """Return the weights in text encoders and denoiser as AUTOMATIC1111's network tags define them."""
    positional = [value for value in values if "=" not in value]
    named = dict(value.split("=") for value in values if "=" in value)
    encoder = float(named.get("te", positional[0] if positional else 1))
    return encoder, float(named.get("unet", positional[1] if len(positional) > 1 else encoder))


@pytest.mark.parametrize(
    "values",
    [
        "",
        "0.8",
        "0:1",
        "1:0",
        "te=0.5:unet=1",
        "unet=0.2",
        "te=0.2",
        "0.8:te=1",
        "0.8:unet=0",
        "0.1:0.2:te=3",
        "-1",
    ],
)
def test_tag_weights_are_those_of_a1111(values):
    values = values.split(":") if values else []
    prompt = parse(f"a <lora:{':'.join(['x', *values])}> b").at()
    (lora,) = prompt.loras
    encoder = lora.weight if lora.text_encoder_weight is None else lora.text_encoder_weight
    assert (encoder, lora.weight) == a1111_weights(values)
    assert not prompt.diagnostics


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize(
    ("written", "weights", "positions"),
    [
        ("1@0,0@0.5", [1, 0], [0, 0.5]),
        ("0@0,1@0.4,0.2@1", [0, 1, 0.2], [0, 0.4, 1]),
        ("0.25@0.5;1", [0.25, 1], [0.5, 1]),
        ("0@0.5, 1@0", [1, 0], [0, 0.5]),
        ("1@0,0@10", [1, 0], [0, 10]),
    ],
)
def test_weight_by_step_is_interpolated(written, weights, positions, steps):
    (lora,) = parse(f"<lora:x:{written}>").at().loras
    for step in range(steps):
        place = step if positions[-1] > 1 else step / max(1, steps - 1)
        assert lora_weight_at(lora.curve, step, steps) == pytest.approx(np.interp(place, positions, weights))
    assert (lora.weight, lora.text_encoder_weight) == (weights[0], None)


def test_weight_by_step_of_the_denoiser_alone():
    (lora,) = parse("<loractl:x:te=0.5:unet=0@0,1@1>").at().loras
    assert (lora.kind, lora.text_encoder_weight, lora.curve) == ("lora", 0.5, ((0.0, 0.0), (1.0, 1.0)))


@pytest.mark.parametrize(
    ("tag", "codes"),
    [
        ("<lora:x:forte>", ["tag-weight"]),
        ("<lora:x:te=forte>", ["tag-weight"]),
        ("<lora:x:1:0,0,0,1>", ["tag-weight"]),
        ("<lora:x:1@-1,0@1>", ["tag-weight"]),
        ("<lora:x:1:1:lbw=ALL>", ["tag-option"]),
        ("<lora:x:1:1:128>", ["tag-option"]),
        ("<lora:x:1:in=0:out=1>", ["tag-option", "tag-option"]),
        ("<lora:x:0@0,1@1:1>", ["tag-text-steps"]),
        ("<lora:x:0@0,1@1>", []),
    ],
)
def test_value_of_a_tag_that_is_not_followed_gets_a_remark(tag, codes):
    assert [remark.code for remark in parse(tag).diagnostics] == codes


@pytest.mark.parametrize(
    "tag", ["<lora:x:0:1>", "<lora:x:0.5:1@0,0@0.5>", "<lora:x:1@0,0@12>", "<lora:b/x:0.8>"]
)
def test_written_tag_has_the_same_weights(tag):
    assert write(parse(f"um gato{tag}")) == f"um gato{tag}"
    assert convert(f"gato{tag}", "a1111", "pw").text == f"gato{tag}"


def test_conversion_of_separate_weights_tells_the_loss():
    converted = convert("gato<lora:x:0:1>", "pw", "compel")
    assert converted.text.startswith("withLora(x,1)")
    assert [loss.code for loss in converted.losses] == ["lost-tag-weights"]


def test_read_tag_weights_of_no_values_is_one():
    assert read_tag_weights([]) == (1.0, None, (), ())
