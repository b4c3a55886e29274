"""Schedulers by name against the classes and settings in the documentation of diffusers."""

import pytest
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from promptweight.errors import SettingError
from promptweight.generation import generate
from promptweight.models import SAMPLERS, get_sampler_name, make_scheduler

# diffusers' schedulers on numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

TRAINED = {"prediction_type": "v_prediction", "num_train_timesteps": 500}


@pytest.fixture
def current():
    return DDIMScheduler(**TRAINED)


@pytest.mark.parametrize(
    ("name", "class_name", "settings"),
    [
        ("DPM++ 2M", "DPMSolverMultistepScheduler", {"use_karras_sigmas": False}),
        ("DPM++ 2M Karras", "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        ("dpm++ 2m sde karras", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        ("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler", {"use_karras_sigmas": True}),
        ("Euler  Exponential", "EulerDiscreteScheduler", {"use_exponential_sigmas": True}),
        ("Euler a", "EulerAncestralDiscreteScheduler", {}),
        ("PLMS", "PNDMScheduler", {}),
        ("UniPC", "UniPCMultistepScheduler", {}),
        ("LCM", "LCMScheduler", {}),
        ("DEISMultistepScheduler", "DEISMultistepScheduler", {}),
    ],
)
def test_make_scheduler_gives_the_class_and_keeps_training_settings(current, name, class_name, settings):
    made = make_scheduler(name, current)
    assert type(made).__name__ == class_name
    assert made.config.items() >= {**TRAINED, **settings}.items()


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_get_sampler_name_inverts_make_scheduler(current, name):
    assert get_sampler_name(make_scheduler(name, current)) == name


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_seed_reproduces_the_image_with_every_sampler(tiny_pipe, monkeypatch, name):
    monkeypatch.setattr(tiny_pipe, "scheduler", make_scheduler(name, tiny_pipe.scheduler))
    first, second = (generate("gato", tiny_pipe, num_inference_steps=3, seed=1) for _ in range(2))
    assert first.images[0].tobytes() == second.images[0].tobytes()
    assert first.settings["sampler"] == name
    assert not first.warnings


def test_noise_schedule_is_part_of_the_name_and_is_not_inherited(current):
    karras = make_scheduler("DPM++ 2M Karras", current)
    assert get_sampler_name(karras) == "DPM++ 2M Karras"
    assert get_sampler_name(make_scheduler("DPM++ 2M", karras)) == "DPM++ 2M"


def test_flow_matching_models_have_their_own_samplers():
    current = FlowMatchEulerDiscreteScheduler(shift=3.0)
    made = make_scheduler("Heun", current)
    assert type(made).__name__ == "FlowMatchHeunDiscreteScheduler"
    assert made.config.shift == 3.0
    assert get_sampler_name(current) == "Euler"
    with pytest.raises(SettingError, match=r"one of: Euler, Heun, LCM .*; got 'DDIM'"):
        make_scheduler("DDIM", current)


@pytest.mark.parametrize(
    "name", ["", "Karras", "DPM++ 9M", "DiffusionPipeline", "torch", "FlowMatchEulerDiscreteScheduler", None]
)
def test_make_scheduler_with_another_name_lists_the_known_ones(current, name):
    with pytest.raises(SettingError, match=r"one of: DDIM, DPM\+\+ 2M, .*UniPCMultistepScheduler; got"):
        make_scheduler(name, current)


def test_make_scheduler_with_an_unsupported_noise_schedule_raises(current):
    with pytest.raises(SettingError, match="schedule Karras, which DDIMScheduler lacks; got 'DDIM Karras'"):
        make_scheduler("DDIM Karras", current)


def test_get_sampler_name_of_an_unnamed_scheduler_is_none(current):
    assert get_sampler_name(make_scheduler("DEISMultistepScheduler", current)) is None
