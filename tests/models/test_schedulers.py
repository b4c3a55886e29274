"""Schedulers by name against the classes and settings in the documentation of diffusers."""

import copy
import inspect
import math

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from promptweight.errors import SettingError
from promptweight.generation import generate
from promptweight.models import (
    NOISE_SCHEDULES,
    SAMPLERS,
    TIMESTEP_SPACINGS,
    get_sampler_name,
    has_noise_schedule,
    make_scheduler,
)

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
        ("DPM++ SDE Karras", "DPMSolverSinglestepScheduler", {"use_karras_sigmas": True}),
        ("DPM++ 2M SDE Heun", "DPMSolverMultistepScheduler", {"solver_type": "heun", "solver_order": 2}),
        ("DPM++ 3M SDE Exponential", "DPMSolverMultistepScheduler", {"solver_order": 3}),
        ("DEIS Karras", "DEISMultistepScheduler", {"use_karras_sigmas": True}),
        ("Euler SGM Uniform", "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
        ("DPM++ 2M simple", "DPMSolverMultistepScheduler", {"timestep_spacing": "trailing"}),
        ("Euler a Normal", "EulerAncestralDiscreteScheduler", {"timestep_spacing": "linspace"}),
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
    first, second = (generate(tiny_pipe, "gato", num_inference_steps=3, seed=1) for _ in range(2))
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
    with pytest.raises(SettingError, match=r"one of: DDIM, DEIS, DPM\+\+ 2M, .*UniPCMultistepScheduler; got"):
        make_scheduler(name, current)


def test_make_scheduler_with_an_unsupported_noise_schedule_raises(current):
    with pytest.raises(SettingError, match="schedule Karras, which DDIMScheduler lacks; got 'DDIM Karras'"):
        make_scheduler("DDIM Karras", current)


def test_get_sampler_name_of_an_unnamed_scheduler_is_none(current):
    assert get_sampler_name(make_scheduler("TCDScheduler", current)) is None


SCHEDULED = [
    (sampler, schedule)
    for sampler in SAMPLERS
    for schedule in (*NOISE_SCHEDULES, *TIMESTEP_SPACINGS)
    if has_noise_schedule(sampler, schedule)
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("sampler", "schedule"), SCHEDULED)
def test_every_noise_schedule_of_a_sampler_can_be_made_and_named(sampler, schedule):
    own = DDIMScheduler(timestep_spacing="leading", steps_offset=0)
    made = make_scheduler(f"{sampler} {schedule}", own)
    made.set_timesteps(5)
    assert get_sampler_name(made) == f"{sampler} {schedule}"
    # Another scheduler made of it has the spacing of the model again.
    plain = make_scheduler("Euler", made)
    assert get_sampler_name(plain) == "Euler"
    assert (plain.config.timestep_spacing, plain.config.steps_offset) == ("leading", 0)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_has_noise_schedule_agrees_with_the_settings_that_diffusers_takes(sampler):
    taken = inspect.signature(getattr(diffusers, SAMPLERS[sampler].scheduler)).parameters
    for schedule, flag in NOISE_SCHEDULES.items():
        assert has_noise_schedule(sampler, schedule) == (flag in taken)
    if "timestep_spacing" not in taken:
        assert not any(has_noise_schedule(sampler, schedule) for schedule in TIMESTEP_SPACINGS)


def comfy_sigmas(schedule: str, steps: int, sigmas: np.ndarray) -> list[float]:
    """Return the sigmas of a noise schedule by ComfyUI's formulas (comfy/samplers.py), without the last 0."""
    last = len(sigmas) - 1
    if schedule == "Simple":
        return [sigmas[-(1 + int(step * len(sigmas) / steps))] for step in range(steps)]
    if schedule == "DDIM":
        return sigmas[1 :: max(len(sigmas) // steps, 1)][::-1][:steps].tolist()
    shortened = schedule == "SGM Uniform"
    timesteps = np.linspace(last, 0, steps + shortened)[: steps if shortened else None]
    return np.exp(np.interp(timesteps, np.arange(last + 1), np.log(sigmas))).tolist()


@pytest.mark.parametrize(
    ("sampler", "schedule"), [pair for pair in SCHEDULED if pair[1] in TIMESTEP_SPACINGS]
)
@pytest.mark.parametrize("steps", [20])
def test_spacings_have_the_sigmas_of_comfyui(sampler, schedule, steps):
    own = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    sigmas = ((1 - own.alphas_cumprod) / own.alphas_cumprod).sqrt().double().numpy()
    made = make_scheduler(f"{sampler} {schedule}", own)
    made.set_timesteps(steps)
    timesteps = made.timesteps.double().numpy()
    # Samplers of second order call the model twice in each step but the last.
    if sampler in ("DPM2", "DPM2 a", "Heun"):
        timesteps = np.concatenate([timesteps[:1], timesteps[2::2]])
    timesteps = np.unique(timesteps)[::-1]
    expected = comfy_sigmas("Normal" if schedule == "Uniform" else schedule, steps, sigmas)
    found = np.exp(np.interp(timesteps, np.arange(len(sigmas)), np.log(sigmas)))
    assert len(found) == len(expected)
    # one timestep is 1 % of a sigma or less, but for the last ones
    np.testing.assert_allclose(found[:-1], expected[:-1], rtol=0.02)
    np.testing.assert_allclose(found[-1], expected[-1], rtol=0.02, atol=0.02)


def solve_with_sde(sampler: str, steps: int) -> float:
    """Return the largest error of a sampler, without noise, where the prediction is a function of sigma."""
    own = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="sample"
    )
    made = make_scheduler(f"{sampler} Karras", own)
    made.set_timesteps(steps)
    sigmas = made.sigmas.double()
    made.sigmas = sigmas
    noised = clean = float(sigmas[0])
    errors = []
    for index in range(steps - 1):
        scale = (1 + sigmas[index] ** 2).sqrt()
        predicted = torch.sin(2 * sigmas[index].log())[None]
        sample = torch.tensor([noised], dtype=torch.float64) / scale
        moved = made.step(predicted, made.timesteps[index], sample, variance_noise=torch.zeros(1)).prev_sample
        noised = float(moved * (1 + sigmas[index + 1] ** 2).sqrt())
        low, high = -math.log(sigmas[index]), -math.log(sigmas[index + 1])
        for part in range(500):
            at, width = low + (part + 0.5) * (high - low) / 500, (high - low) / 500
            clean = math.exp(-2 * width) * clean + (1 - math.exp(-2 * width)) * math.sin(-2 * at)
        errors.append(abs(noised - clean))
    return max(errors[4:])


def test_third_order_sde_of_diffusers_is_less_exact_than_the_second():
    """The last term of diffusers' update has the wrong sign, so that pictures of it need a warning."""
    assert solve_with_sde("DPM++ 3M SDE", 40) > 2 * solve_with_sde("DPM++ 2M SDE", 40)


def test_simple_is_the_schedule_of_flow_matching_models_whose_pipeline_gives_it():
    flux = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    assert make_scheduler("Euler Simple", flux).config.use_dynamic_shifting is True
    with pytest.raises(SettingError, match="schedule Simple, which FlowMatchEulerDiscreteScheduler lacks"):
        make_scheduler("Euler Simple", FlowMatchEulerDiscreteScheduler(shift=3.0))


@pytest.mark.parametrize("steps", [5, 25, 60])
@pytest.mark.parametrize(
    "name",
    [
        f"{sampler} {schedule}".strip()
        for sampler in SAMPLERS
        for schedule in ("", *NOISE_SCHEDULES)
        if sampler != "LCM" and (not schedule or has_noise_schedule(sampler, schedule))  # LCM: 50 steps
    ],
)
def test_run_takes_every_sigma_though_the_first_timesteps_are_equal(name, steps):
    current = DDIMScheduler(
        beta_schedule="scaled_linear", prediction_type="v_prediction", rescale_betas_zero_snr=True,
        clip_sample=False, timestep_spacing="trailing",
    )  # fmt: skip
    scheduler = copy.deepcopy(make_scheduler(name, current))
    scheduler.set_timesteps(steps)
    begun = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    latents = begun * scheduler.init_noise_sigma
    for number, timestep in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(torch.zeros_like(latents), timestep, latents).prev_sample
        assert getattr(scheduler, "step_index", number + 1) in (number + 1, None)
    assert torch.isfinite(latents).all()
