"""Samplers and noise schedules that the page offers for each model."""

import inspect

import diffusers
import pytest

from promptweight import generate
from promptweight.errors import SettingError
from promptweight.models import FLOW_SAMPLERS, NOISE_SCHEDULES, SAMPLERS, make_scheduler
from promptweight_ui.models import Models
from promptweight_ui.samplers import (
    DEFAULT_SCHEDULE,
    OTHER_SCHEDULERS,
    OWN_SAMPLER,
    join_sampler,
    sampler_names,
    schedule_names,
    split_sampler,
    use_sampler,
)

# diffusers' schedulers on numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.mark.parametrize("is_flow", [False, True])
def test_noise_schedules_are_those_that_diffusers_takes(is_flow):
    for name, sampler in (FLOW_SAMPLERS if is_flow else SAMPLERS).items():
        parameters = inspect.signature(getattr(diffusers, sampler.scheduler)).parameters
        expected = {schedule for schedule, flag in NOISE_SCHEDULES.items() if flag in parameters}
        assert expected == set(schedule_names(name, is_flow=is_flow)) & set(NOISE_SCHEDULES)


@pytest.mark.parametrize("is_flow", [False, True])
def test_every_sampler_can_be_made_with_every_schedule(is_flow):
    own = diffusers.FlowMatchEulerDiscreteScheduler() if is_flow else diffusers.DDIMScheduler()
    for sampler in sampler_names(is_flow=is_flow)[1:]:
        for schedule in schedule_names(sampler, is_flow=is_flow):
            name = join_sampler(sampler, schedule)
            assert ("FlowMatch" in type(make_scheduler(name, own)).__name__) == is_flow
            assert split_sampler(name, is_flow=is_flow) == (sampler, schedule)


@pytest.mark.parametrize("name", [OWN_SAMPLER, *SAMPLERS, "DPM++ 2M Karras", *OTHER_SCHEDULERS])
def test_every_sampler_makes_an_image_and_previews(tiny_pipe, name):
    from promptweight_ui.components.live_preview import LivePreview

    own, previews = tiny_pipe.scheduler, []
    with use_sampler(tiny_pipe, name):
        preview = LivePreview(tiny_pipe)
        result = generate(tiny_pipe, "um gato", num_inference_steps=4, seed=1, record=False,
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
    [
        ("dpm++ 2m  karras", ("DPM++ 2M", "Karras")),
        ("euler sgm uniform", ("Euler", "SGM Uniform")),
        ("Euler a", ("Euler a", DEFAULT_SCHEDULE)),
        ("own", (OWN_SAMPLER, DEFAULT_SCHEDULE)),
        ("ddpmscheduler", ("DDPMScheduler", DEFAULT_SCHEDULE)),
        *((name, None) for name in ("", None, "x" * 10_000, 3, "Automatic", "Euler a Karras", "own Karras")),
    ],
)
def test_names_are_split_in_any_case(name, expected):
    assert split_sampler(name, is_flow=False) == expected
