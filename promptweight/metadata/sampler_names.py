"""Names of samplers and noise schedules of other tools, and the samplers of promptweight that they are.

A sampler that diffusers does not have is not replaced by a similar one: a warning names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptweight.messages import Message, message
from promptweight.models import has_noise_schedule

# By names in lower case, with "++" as "pp", spaces and hyphens as "_", without the prefix "k_" or "sample_".
_SAMPLERS = {
    "ddim": "DDIM",
    "ddim_v3": "DDIM",
    "ddpm": "DDPMScheduler",
    "deis": "DEIS",
    "dpm2": "DPM2",
    "dpm2_a": "DPM2 a",
    "dpm_2": "DPM2",
    "dpm_2_a": "DPM2 a",
    "dpm_2_ancestral": "DPM2 a",
    "dpm_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_2m_sde_heun_gpu": "DPM++ 2M SDE Heun",
    "dpmpp_2s": "DPM++ 2S",
    "dpmpp_3m": "DPM++ 3M",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_sde_gpu": "DPM++ SDE",
    "dpmsingle": "DPM++ 2S",
    "dpmsolverpp": "DPM++ 2M",
    "euler": "Euler",
    "euler_a": "Euler a",
    "euler_ancestral": "Euler a",
    "euler_flowmatch": "Euler",
    "heun": "Heun",
    "kdpm2": "DPM2",
    "kdpm2_a": "DPM2 a",
    "kdpm_2": "DPM2",
    "kdpm_2_a": "DPM2 a",
    "lcm": "LCM",
    "lms": "LMS",
    "lmsd": "LMS",
    "plms": "PLMS",
    "pndm": "PLMS",
    "tcd": "TCDScheduler",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
    "unipc": "UniPC",
}
_SCHEDULES = {
    "beta": "Beta",
    "ddim": "DDIM",
    "ddim_uniform": "DDIM",
    "exp": "Exponential",
    "exponential": "Exponential",
    "k": "Karras",
    "ka": "Karras",
    "karras": "Karras",
    "normal": "Normal",
    "sgm_uniform": "SGM Uniform",
    "sgmuniform": "SGM Uniform",
    "simple": "Simple",
    "trailing": "SGM Uniform",
    "uniform": "Uniform",
}
_NO_SCHEDULE = ("", "automatic", "default", "native", "none", "use_same_scheduler")
_OTHER_SCHEDULES = ("ays", "align_your_steps", "kl_optimal", "polyexponential", "turbo", "beta57")
"""Noise schedules at the end of the name of a sampler, which diffusers does not have."""
_DIFFUSERS_TOOLS = ("InvokeAI", "SD.Next")
"""Tools whose samplers are those of diffusers."""
_COMFY_TOOLS = ("ComfyUI", "SwarmUI", "Fooocus", "RuinedFooocus")


def find_sampler(
    tool: str, sampler: str, schedule: str | None = None, options: Mapping[str, Any] | None = None
) -> tuple[str | None, list[Message]]:
    """Return the sampler of promptweight for names of another tool, and warnings about what differs.

    Args:
        tool: the name of the tool.
        sampler: the tool's name of the sampler, which may end with that of a noise schedule.
        schedule: the tool's name of the noise schedule, where it is a setting of its own.
        options: the options of `GenerateOptions` that are known, for the number of steps in a warning.

    >>> find_sampler("ComfyUI", "dpmpp_2m", "karras")
    ('DPM++ 2M Karras', [])
    """
    if sampler.endswith("Scheduler"):
        return sampler, []
    name, ending = _split_name(_fold(sampler))
    base = _SAMPLERS.get(name)
    if base is None:
        written = f"{sampler} {schedule}" if schedule and _fold(schedule) not in _NO_SCHEDULE else sampler
        return None, [message("sampler-not-followed", sampler=written, tool=tool)]
    key = _fold(schedule or "")
    if key in _NO_SCHEDULE:
        key = ending
    wanted = _SCHEDULES.get(key)
    if base == "DDIM" and tool in _COMFY_TOOLS and wanted not in (None, "DDIM"):
        base = "Euler"  # the same update, for any noise schedule
    warnings = _describe_differences(tool, base, wanted, options or {})
    if key and (wanted is None or not has_noise_schedule(base, wanted)):
        written = schedule if schedule and _fold(schedule) == key else key
        return base, [*warnings, message("schedule-not-followed", schedule=written, sampler=base)]
    return f"{base} {wanted}" if wanted else base, warnings


def _fold(name: str) -> str:
    folded = "_".join(name.casefold().replace("++", "pp").replace("-", " ").replace("_", " ").split())
    return folded.removeprefix("sample_").removeprefix("k_")


def _split_name(name: str) -> tuple[str, str]:
    """Split a noise schedule from the end of a sampler's name."""
    if name not in _SAMPLERS:
        for ending in sorted((*_SCHEDULES, *_OTHER_SCHEDULES), key=len, reverse=True):
            base = name.removesuffix(f"_{ending}")
            if base != name and base in _SAMPLERS:
                return base, ending
        if name.startswith("unipc_"):  # Easy Diffusion's variants
            return "unipc", ""
    return name, ""


def _describe_differences(
    tool: str, base: str, schedule: str | None, options: Mapping[str, Any]
) -> list[Message]:
    """Return a warning for each way in which a sampler of diffusers differs from that of the tool."""
    warnings = []
    if base == "DPM++ SDE" and (steps := options.get("num_inference_steps")):
        warnings.append(message("sampler-steps", sampler=base, tool=tool, steps=2 * int(steps) - 1))
    if base == "DPM++ 3M SDE" or (base == "UniPC" and tool not in _DIFFUSERS_TOOLS):
        warnings.append(message("sampler-variant", sampler=base, tool=tool))
    if schedule == "Beta" and tool in _COMFY_TOOLS:
        warnings.append(message("sampler-variant", sampler=f"{base} {schedule}", tool=tool))
    return warnings
