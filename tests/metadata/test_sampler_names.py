"""Samplers of other tools against diffusers: what has a counterpart is made, what has none is named."""

import pytest
from diffusers import DDIMScheduler

from promptweight.metadata.sampler_names import find_sampler
from promptweight.models import get_sampler_name, make_scheduler

# diffusers' schedulers on numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

# ComfyUI's lists, comfy/samplers.py; None where diffusers has no counterpart.
COMFY_SAMPLERS = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_sde_gpu": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "ddpm": "DDPMScheduler",
    "lcm": "LCM",
    "deis": "DEIS",
    "ddim": "DDIM",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
    "euler_cfg_pp": None,
    "euler_ancestral_cfg_pp": None,
    "heunpp2": None,
    "dpm_fast": None,
    "dpm_adaptive": None,
    "dpmpp_2s_ancestral": None,
    "dpmpp_2m_cfg_pp": None,
    "ipndm": None,
    "ipndm_v": None,
    "res_multistep": None,
    "gradient_estimation": None,
    "er_sde": None,
    "seeds_2": None,
    "sa_solver": None,
}
# InvokeAI's SCHEDULER_MAP, whose values are classes of diffusers.
INVOKE_SAMPLERS = {
    "ddim": "DDIM",
    "ddpm": "DDPMScheduler",
    "deis": "DEIS",
    "deis_k": "DEIS Karras",
    "lms": "LMS",
    "lms_k": "LMS Karras",
    "pndm": "PLMS",
    "heun": "Heun",
    "heun_k": "Heun Karras",
    "euler": "Euler",
    "euler_k": "Euler Karras",
    "euler_a": "Euler a",
    "kdpm_2": "DPM2",
    "kdpm_2_k": "DPM2 Karras",
    "kdpm_2_a": "DPM2 a",
    "kdpm_2_a_k": "DPM2 a Karras",
    "dpmpp_2s": "DPM++ 2S",
    "dpmpp_2s_k": "DPM++ 2S Karras",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_k": "DPM++ 2M Karras",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_k": "DPM++ 2M SDE Karras",
    "dpmpp_3m": "DPM++ 3M",
    "dpmpp_3m_k": "DPM++ 3M Karras",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_sde_k": "DPM++ SDE Karras",
    "unipc": "UniPC",
    "unipc_k": "UniPC Karras",
    "lcm": "LCM",
    "tcd": "TCDScheduler",
}
# AUTOMATIC1111's samplers, modules/sd_samplers_kdiffusion.py and sd_samplers_timesteps.py.
A1111_SAMPLERS = {
    "DPM++ 2M": "DPM++ 2M",
    "DPM++ SDE": "DPM++ SDE",
    "DPM++ 2M SDE": "DPM++ 2M SDE",
    "DPM++ 2M SDE Heun": "DPM++ 2M SDE Heun",
    "DPM++ 2S a": None,
    "DPM++ 3M SDE": "DPM++ 3M SDE",
    "Euler a": "Euler a",
    "Euler": "Euler",
    "LMS": "LMS",
    "Heun": "Heun",
    "DPM2": "DPM2",
    "DPM2 a": "DPM2 a",
    "DPM fast": None,
    "DPM adaptive": None,
    "Restart": None,
    "DDIM": "DDIM",
    "DDIM CFG++": None,
    "PLMS": "PLMS",
    "UniPC": "UniPC",
    "LCM": "LCM",
    "DPM++ 2M Karras": "DPM++ 2M Karras",
    "DPM++ SDE Karras": "DPM++ SDE Karras",
    "DPM++ 2M SDE Exponential": "DPM++ 2M SDE Exponential",
    "LMS Karras": "LMS Karras",
    "DPM++ 3M SDE Karras": "DPM++ 3M SDE Karras",
    "DPM++ 2S a Karras": None,
    "DPM2 a Karras": "DPM2 a Karras",
}
CASES = [
    (tool, name, expected)
    for tool, names in (
        ("ComfyUI", COMFY_SAMPLERS),
        ("InvokeAI", INVOKE_SAMPLERS),
        ("AUTOMATIC1111", A1111_SAMPLERS),
    )
    for name, expected in names.items()
]


@pytest.mark.parametrize(("tool", "name", "expected"), CASES)
def test_sampler_has_its_counterpart_or_is_named(tool, name, expected):
    found, warnings = find_sampler(tool, name)
    assert found == expected
    if expected is None:
        assert [(warning.code, warning.fields["sampler"]) for warning in warnings] == [
            ("sampler-not-followed", name)
        ]
    else:
        made = make_scheduler(found, DDIMScheduler())
        assert (get_sampler_name(made) or type(made).__name__) == expected


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected", "followed"),
    [
        ("euler", "normal", "Euler Normal", True),
        ("euler", "simple", "Euler Simple", True),
        ("euler", "sgm_uniform", "Euler SGM Uniform", True),
        ("euler", "ddim_uniform", "Euler DDIM", True),
        ("euler", "exponential", "Euler Exponential", True),
        ("euler", "kl_optimal", "Euler", False),
        ("euler", "linear_quadratic", "Euler", False),
        ("euler", "x", "Euler", False),
        ("euler_ancestral", "karras", "Euler a", False),
        ("dpmpp_2m", "normal", "DPM++ 2M", False),
        ("dpmpp_2m", "sgm_uniform", "DPM++ 2M SGM Uniform", True),
        ("dpmpp_sde", "simple", "DPM++ SDE", False),
        ("lcm", "sgm_uniform", "LCM", False),
        ("ddim", "karras", "Euler Karras", True),
        ("ddim", "ddim_uniform", "DDIM DDIM", True),
        ("ddpm", "karras", "DDPMScheduler", False),
    ],
)
def test_schedule_is_followed_or_named_and_the_sampler_is_kept(sampler, schedule, expected, followed):
    found, warnings = find_sampler("ComfyUI", sampler, schedule)
    assert found == expected
    named = [warning.fields["schedule"] for warning in warnings if warning.code == "schedule-not-followed"]
    assert named == ([] if followed else [schedule])


@pytest.mark.parametrize("schedule", ["Automatic", "", None, "native", "Default"])
def test_schedule_of_the_sampler_itself_is_none(schedule):
    assert find_sampler("AUTOMATIC1111", "DPM++ 2M", schedule) == ("DPM++ 2M", [])
    assert find_sampler("AUTOMATIC1111", "DPM++ 2M Karras", schedule) == ("DPM++ 2M Karras", [])


@pytest.mark.parametrize(
    ("tool", "sampler", "schedule", "code"),
    [
        ("AUTOMATIC1111", "DPM++ SDE", "Karras", "sampler-steps"),
        ("AUTOMATIC1111", "DPM++ 3M SDE", "Karras", "sampler-variant"),
        ("AUTOMATIC1111", "UniPC", None, "sampler-variant"),
        ("ComfyUI", "euler", "beta", "sampler-variant"),
    ],
)
def test_sampler_that_differs_in_diffusers_gives_a_warning(tool, sampler, schedule, code):
    _, warnings = find_sampler(tool, sampler, schedule, {"num_inference_steps": 20})
    assert [warning.code for warning in warnings] == [code]
    assert warnings[0].fields.get("steps", 39) == 39


def test_ddim_is_euler_on_the_same_timesteps():
    """The reason why ComfyUI's ddim with Karras sigmas is Euler: with eta 0 both make the same step."""
    import torch

    own = DDIMScheduler(
        beta_schedule="scaled_linear", timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=False
    )
    samples = {}
    for name in ("DDIM SGM Uniform", "Euler SGM Uniform"):
        made = make_scheduler(name, own)
        made.set_timesteps(10)
        sample = torch.full((1, 1, 2, 2), 0.5) * made.init_noise_sigma
        for timestep in made.timesteps[:-1]:
            scaled = made.scale_model_input(sample, timestep)
            sample = made.step(torch.tanh(scaled * 3 + timestep / 500), timestep, sample).prev_sample
        samples[name] = made.scale_model_input(sample, made.timesteps[-1])
    torch.testing.assert_close(*samples.values(), rtol=2e-3, atol=2e-3)
