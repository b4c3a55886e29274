"""Number types around a run: another default type of torch, autocast, and weights that are not numbers."""

import copy

import numpy as np
import pytest
import torch

import promptweight
from promptweight.attention import Record

PROMPT = "a (red cat:1.4) and a (mouse:0.5)"
WEIGHTINGS = ["presence", "attention", "attention-p2p", "kjnodes", "comfy", "clip-attention"]


@pytest.fixture(scope="module")
def pipe():
    return promptweight.load("mini")


def draw(pipe, prompt=PROMPT, **options):
    record = (
        Record(refine=True) if "edit" in options else Record(refine=True, trace=True, patches=[(0.5, 0.5)])
    )
    return promptweight.generate(pipe, prompt, seed=1, num_inference_steps=2, record=record, **options)


@pytest.fixture(params=[torch.float64, torch.float16, torch.bfloat16], ids=str)
def default_dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def expected(pipe):
    return {weighting: draw(pipe, weighting=weighting) for weighting in WEIGHTINGS}


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.usefixtures("default_dtype")
def test_the_default_type_of_torch_changes_no_map(pipe, expected, weighting):
    result = draw(pipe, weighting=weighting)
    heat, wanted = (each.maps.word("red cat").tensor for each in (result, expected[weighting]))
    assert heat.dtype is torch.float32
    torch.testing.assert_close(heat, wanted, rtol=1e-3, atol=1e-6)


@pytest.fixture(scope="module")
def solved(pipe):
    return draw(pipe, "a (cat:=40%) and a mouse").shares[0][0]


def test_the_default_type_of_torch_changes_no_share_and_no_edit(pipe, solved, default_dtype):
    (share,) = draw(pipe, "a (cat:=40%) and a mouse").shares[0]
    assert share.weights == pytest.approx(solved.weights, rel=1e-3)
    assert draw(pipe, "a red cat", edit="a blue cat").edited.images


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_maps_under_autocast_are_float32_and_nearly_those_without(pipe, expected, weighting):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        heat = draw(pipe, weighting=weighting).maps.word("red cat").tensor
    wanted = expected[weighting].maps.word("red cat").tensor
    assert heat.dtype is torch.float32
    assert 0 < (heat - wanted).abs().max() < 0.03


def test_views_under_autocast_equal_those_without(expected):
    maps = expected["presence"].maps
    views = (maps, maps.refined(), maps.traced(), maps.share(), maps.lift())
    wanted = [view.word("cat").tensor for view in views]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        anew = promptweight.AttentionMaps.from_recording(maps.recording)
        for view, heat in zip(
            (anew, anew.refined(), anew.traced(), anew.share(), anew.lift()), wanted, strict=True
        ):
            assert view.word("cat").tensor.equal(heat)


def test_recording_under_autocast_changes_no_bit_of_the_image(pipe):
    def call(**inputs):
        noise = torch.Generator().manual_seed(1)
        return np.asarray(pipe(**inputs, num_inference_steps=2, generator=noise).images[0])

    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = call(prompt="a red cat")
        with promptweight.attach(pipe, "a red cat", record=Record(refine=True)) as session:
            recorded = call(**session.inputs)
    assert (plain == recorded).all()


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_weights_that_are_not_numbers_are_named(pipe, part):
    damaged = copy.copy(pipe)
    network = copy.deepcopy(getattr(pipe, part))
    damaged.register_modules(**{part: network})
    with torch.no_grad():
        list(network.parameters())[-1].fill_(torch.nan)
    (warning,) = [each for each in draw(damaged).warnings if each.code == "nan-weights"]
    assert part in str(warning)


def test_numbers_that_overflow_in_float32_do_not_blame_the_type(pipe):
    assert draw(pipe, "a (cat:1e300)", weighting="scale").warnings[0].code == "nan-float32"
