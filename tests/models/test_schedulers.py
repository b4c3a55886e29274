"""Schedulers by name: the class and settings that diffusers' own documentation gives for each sampler."""

import pytest
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from promptweight.errors import SettingError
from promptweight.generation.image_generation import generate
from promptweight.models.schedulers import SAMPLERS, get_sampler_name, make_scheduler

# diffusers' schedulers on numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

TRAINED = {"prediction_type": "v_prediction", "num_train_timesteps": 500}


@pytest.fixture
def present():
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
def test_a_name_gives_the_class_and_keeps_how_the_model_was_trained(present, name, class_name, settings):
    made = make_scheduler(name, present)
    assert type(made).__name__ == class_name
    assert made.config.items() >= {**TRAINED, **settings}.items()


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_sampler_is_called_by_the_name_that_made_it(present, name):
    assert get_sampler_name(make_scheduler(name, present)) == name


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_seed_gives_the_same_picture_again(tiny_pipe, monkeypatch, name):
    monkeypatch.setattr(tiny_pipe, "scheduler", make_scheduler(name, tiny_pipe.scheduler))
    first, second = (generate("gato", tiny_pipe, num_inference_steps=3, seed=1) for _ in range(2))
    assert first.images[0].tobytes() == second.images[0].tobytes()
    assert first.settings["sampler"] == name
    assert not first.warnings


def test_a_schedule_is_part_of_the_name_and_does_not_stay_on(present):
    karras = make_scheduler("DPM++ 2M Karras", present)
    assert get_sampler_name(karras) == "DPM++ 2M Karras"
    assert get_sampler_name(make_scheduler("DPM++ 2M", karras)) == "DPM++ 2M"


def test_flow_matching_has_samplers_of_its_own():
    present = FlowMatchEulerDiscreteScheduler(shift=3.0)
    made = make_scheduler("Heun", present)
    assert type(made).__name__ == "FlowMatchHeunDiscreteScheduler"
    assert made.config.shift == 3.0
    assert get_sampler_name(present) == "Euler"
    with pytest.raises(SettingError, match=r"'DDIM'.*valid: Euler, Heun, LCM"):
        make_scheduler("DDIM", present)


@pytest.mark.parametrize(
    "name", ["", "Karras", "DPM++ 9M", "DiffusionPipeline", "torch", "FlowMatchEulerDiscreteScheduler", None]
)
def test_other_names_are_refused_with_those_there_are(present, name):
    with pytest.raises(SettingError, match=r"valid: DDIM, DPM\+\+ 2M, .*UniPCMultistepScheduler"):
        make_scheduler(name, present)


def test_a_schedule_that_a_sampler_lacks_is_refused(present):
    with pytest.raises(SettingError, match="'DDIM Karras', but DDIMScheduler has no schedule Karras"):
        make_scheduler("DDIM Karras", present)


def test_a_sampler_without_a_name_there_has_none(present):
    assert get_sampler_name(make_scheduler("DEISMultistepScheduler", present)) is None
