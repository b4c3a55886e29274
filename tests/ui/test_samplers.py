"""Samplers that the page offers for each model."""

import inspect

import diffusers
import pytest

from promptweight import generate
from promptweight.errors import SettingError
from promptweight.models.schedulers import FLOW_SAMPLERS, NOISE_SCHEDULES, SAMPLERS, make_scheduler
from promptweight_ui.models import (
    OTHER_SCHEDULERS,
    OWN_SAMPLER,
    SCHEDULERS_WITHOUT_SCHEDULE,
    Models,
    find_sampler,
    sampler_names,
    use_sampler,
)

# diffusers' schedulers on numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


def test_schedulers_without_noise_schedules_are_those_of_diffusers():
    classes = {sampler.scheduler for table in (SAMPLERS, FLOW_SAMPLERS) for sampler in table.values()}
    without = set()
    for name in classes:
        parameters = inspect.signature(getattr(diffusers, name)).parameters
        has = [flag in parameters for flag in NOISE_SCHEDULES.values()]
        assert all(has) or not any(has)
        without |= set() if any(has) else {name}
    assert without == SCHEDULERS_WITHOUT_SCHEDULE


@pytest.mark.parametrize("is_flow", [False, True])
def test_every_sampler_can_be_made(is_flow):
    own = diffusers.FlowMatchEulerDiscreteScheduler() if is_flow else diffusers.DDIMScheduler()
    made = {name: make_scheduler(name, own) for name in sampler_names(is_flow=is_flow) if name != OWN_SAMPLER}
    assert len(made) == len(sampler_names(is_flow=is_flow)) - 1
    assert all(("FlowMatch" in type(each).__name__) == is_flow for each in made.values())


@pytest.mark.parametrize("name", [OWN_SAMPLER, *SAMPLERS, "DPM++ 2M Karras", *OTHER_SCHEDULERS])
def test_every_sampler_makes_an_image_and_previews(tiny_pipe, name):
    from promptweight_ui.components.live_preview import LivePreview

    own, previews = tiny_pipe.scheduler, []
    with use_sampler(tiny_pipe, name):
        preview = LivePreview(tiny_pipe)
        result = generate(
            "um gato", tiny_pipe, num_inference_steps=4, seed=1, record=False,
            callback=lambda progress: previews.append(preview(progress)),
        )  # fmt: skip
    assert tiny_pipe.scheduler is own
    assert len(result.images) == 1
    assert previews
    assert all(each.size == result.images[0].size for each in previews)
    recorded = {result.settings["sampler"], result.settings["scheduler"]}
    assert name in recorded or name == OWN_SAMPLER


def test_own_sampler_is_restored_after_an_error(tiny_pipe):
    own = tiny_pipe.scheduler
    with pytest.raises(SettingError, match="no such EulerDiscrete"), use_sampler(tiny_pipe, "Euler"):
        raise SettingError(f"no such {type(tiny_pipe.scheduler).__name__}")
    assert tiny_pipe.scheduler is own
    with pytest.raises(SettingError, match="scheduler must be one of"), use_sampler(tiny_pipe, "Best"):
        pass
    assert tiny_pipe.scheduler is own


def test_flow_matching_models_have_their_own_samplers():
    models = Models(["mini", "mini-dit", "nobody/nothing-in-no-cache"])
    assert set(models.samplers("mini-dit")) == set(sampler_names(is_flow=True))
    assert set(models.samplers("mini")) == set(sampler_names(is_flow=False))
    assert models.samplers("nobody/nothing-in-no-cache") == models.samplers("mini")
    assert "DPM++ 2M" not in models.samplers("mini-dit")
    assert "Euler" in models.samplers("mini-dit")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("dpm++ 2m  karras", "DPM++ 2M Karras"), ("Euler a", "Euler a"), ("ddpmscheduler", "DDPMScheduler"),
     ("", None), (None, None), ("x" * 10_000, None), (3, None), ("Automatic", None)],
)  # fmt: skip
def test_sampler_names_match_in_any_case(name, expected):
    assert find_sampler(name, sampler_names(is_flow=False)) == expected
