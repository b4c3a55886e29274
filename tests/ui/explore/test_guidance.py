"""Guidance of a step, compared with the image that the scheduler predicts from the guided prediction."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import diffusers
import pytest
import torch

from promptweight import generate
from promptweight_ui.explore import guidance
from promptweight_ui.explore.attention import capture_layers
from promptweight_ui.explore.cache import Cache
from promptweight_ui.tabs import explore

SCALE = 4.0


def capture(pipe, prompt="um gato", scale=SCALE):
    made = generate(pipe, prompt, seed=3, num_inference_steps=4, guidance_scale=scale)
    return made, capture_layers(pipe, made)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler"])
def test_guided_latents_are_those_that_the_scheduler_predicts(tiny_pipe, monkeypatch, name, kind):
    options = {"clip_sample": False} if name == "DDIMScheduler" else {}
    scheduler = getattr(diffusers, name)(prediction_type=kind, **options)
    monkeypatch.setattr(tiny_pipe, "scheduler", scheduler)
    made = generate(tiny_pipe, "um gato", seed=3, num_inference_steps=4, guidance_scale=SCALE)
    step, predicted = scheduler.step, []

    def record(*args, return_dict=True, **options):
        output = step(*args, return_dict=True, **options)
        predicted.append(output.pred_original_sample[0])
        return output if return_dict else (output.prev_sample,)

    monkeypatch.setattr(scheduler, "step", record)
    captured = capture_layers(tiny_pipe, made)
    assert sorted(captured.guidance) == [0, 1, 2, 3]
    for number, expected in enumerate(predicted):
        shown = captured.guidance[number].latents(SCALE)
        torch.testing.assert_close(shown, expected, atol=2e-3 * float(expected.abs().max()), rtol=0)


def test_scales_0_and_1_are_the_two_predictions():
    step = guidance.GuidedStep(torch.zeros(2), torch.tensor([1.0, 2.0]))
    assert step.latents(0).tolist() == [0, 0]
    assert step.latents(1).tolist() == [1, 2]
    assert step.latents(3).tolist() == [3, 6]


def test_flow_matching_predicts_along_its_line():
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    image, noise, sigma = torch.tensor([2.0]), torch.tensor([-1.0]), 0.75
    latents, velocity = (1 - sigma) * image + sigma * noise, noise - image
    first, second = guidance.prediction_factors(scheduler, (1 - sigma, sigma))
    torch.testing.assert_close(first * latents + second * velocity, image)


def test_samplers_of_second_order_have_no_prediction():
    assert guidance.prediction_factors(diffusers.HeunDiscreteScheduler(), (0.5, 0.5)) is None
    assert guidance.prediction_factors(diffusers.DDIMScheduler(), None) is None


@pytest.mark.parametrize(("prompt", "scale"), [("um gato", 1.0), ("um AND gato", SCALE)])
def test_runs_without_two_predictions_at_once_have_no_guidance(tiny_pipe, prompt, scale):
    _, captured = capture(tiny_pipe, prompt, scale)
    assert captured.guidance == {}


def test_page_gets_an_image_for_each_scale(tiny_pipe):
    made, captured = capture(tiny_pipe)
    step = captured.guidance[3]
    noise = torch.randn(step.conditional.shape, generator=torch.Generator().manual_seed(1))
    captured = replace(captured, guidance={3: replace(step, conditional=step.conditional + noise)})
    cache = Cache()
    key = cache.add(captured, captured.nbytes)
    context = SimpleNamespace(models=SimpleNamespace(use=lambda _: nullcontext(tiny_pipe)))
    answer = explore.guidance_values(context, cache, {"key": key, "step": 3, "scales": [0, 1.5, 1.5]})
    zero, one, other = answer["images"]
    assert zero.startswith("data:image/")
    assert one == other != zero
    image = guidance.predicted_image(tiny_pipe, captured.guidance[3], SCALE, captured.size)
    assert image.size == made.images[0].size
    for scales in (None, [], [1, 1, 1, 1], ["1"], [float("nan")], [-1], [99], [True]):
        query = {"key": key, "step": 3, "scales": scales}
        assert explore.guidance_values(context, cache, query) == {"error": "no_such"}
    assert explore.guidance_values(context, cache, {"key": key, "step": 4, "scales": [1]}) == {
        "error": "no_such"
    }
    assert explore.guidance_values(context, cache, {"key": "x", "step": 3, "scales": [1]}) == {
        "error": "gone"
    }
