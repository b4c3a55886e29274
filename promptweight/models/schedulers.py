"""Schedulers by the class names of diffusers, and by AUTOMATIC1111's names of the same samplers.

pipe.scheduler = make_scheduler("DPM++ 2M Karras", pipe.scheduler)
get_sampler_name(pipe.scheduler)  # 'DPM++ 2M Karras'
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptweight.errors import SettingError
from promptweight.messages import message


@dataclass(frozen=True)
class Sampler:
    """The scheduler of a sampler in diffusers: its class name, and settings of it."""

    scheduler: str
    settings: Mapping[str, str | bool] = field(default_factory=dict)


SAMPLERS: dict[str, Sampler] = {
    "DDIM": Sampler("DDIMScheduler"),
    "DPM++ 2M": Sampler("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "DPM++ 2M SDE": Sampler("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "DPM2": Sampler("KDPM2DiscreteScheduler"),
    "DPM2 a": Sampler("KDPM2AncestralDiscreteScheduler"),
    "Euler": Sampler("EulerDiscreteScheduler"),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler"),
    "Heun": Sampler("HeunDiscreteScheduler"),
    "LCM": Sampler("LCMScheduler"),
    "LMS": Sampler("LMSDiscreteScheduler"),
    "PLMS": Sampler("PNDMScheduler", {"skip_prk_steps": True}),
    "UniPC": Sampler("UniPCMultistepScheduler"),
}
"""Samplers of models that predict noise, by AUTOMATIC1111's names (from the documentation of diffusers)."""

_UNSEEDED = {"DPMSolverSDEScheduler"}
"""Schedulers with a noise source of their own, with which a seed does not reproduce an image."""

FLOW_SAMPLERS: dict[str, Sampler] = {
    "Euler": Sampler("FlowMatchEulerDiscreteScheduler"),
    "Heun": Sampler("FlowMatchHeunDiscreteScheduler"),
    "LCM": Sampler("FlowMatchLCMScheduler"),
}
"""Samplers of models trained by flow matching (Stable Diffusion 3, FLUX)."""

NOISE_SCHEDULES = {
    "Karras": "use_karras_sigmas",
    "Exponential": "use_exponential_sigmas",
    "Beta": "use_beta_sigmas",
}
"""Noise schedules after a sampler name, and the scheduler settings that they enable."""


def make_scheduler(name: str, current: Any) -> Any:
    """Make the scheduler of that name for a model whose scheduler is `current`.

    Args:
        name: a sampler of AUTOMATIC1111 in any case, followed by one of `NOISE_SCHEDULES` if wanted
            (`DPM++ 2M Karras`), or the class name of a scheduler of diffusers (`UniPCMultistepScheduler`).
        current: the scheduler whose settings, which follow from the model's training, are kept.

    Raises:
        SettingError: the scheduler is unknown, does not fit the model, or needs a package that is not
            installed.
    """
    import diffusers

    sampler, schedule = _split_name(name, _samplers_for(current))
    classes = _class_names_for(current)
    class_name = sampler.scheduler if sampler else name
    if class_name not in classes:
        raise SettingError(
            f"scheduler must be one of: {', '.join(_samplers_for(current))} (each also with "
            f"{', '.join(NOISE_SCHEDULES)} where it has them), {', '.join(sorted(classes))}; got {name!r}"
        )
    scheduler_class = getattr(diffusers, class_name)
    if missing := getattr(
        scheduler_class, "_backends", None
    ):  # diffusers' placeholder class without its package
        raise SettingError(message("scheduler-package", name=name, package=missing[-1]))
    settings: dict[str, Any] = dict(sampler.settings) if sampler else {}
    if sampler:
        taken = inspect.signature(scheduler_class).parameters
        if schedule is not None and NOISE_SCHEDULES[schedule] not in taken:
            raise SettingError(
                f"scheduler must have the noise schedule {schedule}, which {class_name} lacks; got {name!r}"
            )
        # Flags are also set to False, since the current scheduler may have another one enabled.
        settings |= {flag: each == schedule for each, flag in NOISE_SCHEDULES.items() if flag in taken}
    try:
        return scheduler_class.from_config(current.config, **settings)
    except (ImportError, ValueError) as error:
        raise SettingError(message("scheduler-failed", name=name, reason=error)) from error


def is_known_sampler(name: str) -> bool:
    """Return whether `name` is a sampler of some model, or can be the name of a scheduler class."""
    is_sampler = any(_split_name(name, samplers)[0] is not None for samplers in (SAMPLERS, FLOW_SAMPLERS))
    return is_sampler or name.endswith("Scheduler")


def get_sampler_name(scheduler: Any) -> str | None:
    """Return AUTOMATIC1111's name of a scheduler of diffusers; None where it has no name."""
    config = scheduler.config
    for name, sampler in _samplers_for(scheduler).items():
        if type(scheduler).__name__ == sampler.scheduler and all(
            config.get(setting) == value for setting, value in sampler.settings.items()
        ):
            schedules = [schedule for schedule, flag in NOISE_SCHEDULES.items() if config.get(flag)]
            return " ".join([name, *schedules])
    return None


def _samplers_for(current: Any) -> dict[str, Sampler]:
    return FLOW_SAMPLERS if "FlowMatch" in type(current).__name__ else SAMPLERS


def _class_names_for(current: Any) -> set[str]:
    """Return the class names of the schedulers that can replace `current`."""
    from diffusers.schedulers import KarrasDiffusionSchedulers

    named = {sampler.scheduler for sampler in _samplers_for(current).values()}
    if "FlowMatch" in type(current).__name__:
        return named
    return (named | {each.name for each in KarrasDiffusionSchedulers} | {"TCDScheduler"}) - _UNSEEDED


def _split_name(name: str, samplers: Mapping[str, Sampler]) -> tuple[Sampler | None, str | None]:
    """Split `name` into a sampler and a noise schedule; (None, None) where it is not a sampler name."""
    folded = {each.casefold(): each for each in samplers}
    words = " ".join(str(name).split()).casefold()
    if words in folded:
        return samplers[folded[words]], None
    for schedule in NOISE_SCHEDULES:
        base = words.removesuffix(" " + schedule.casefold())
        if base != words and base in folded:
            return samplers[folded[base]], schedule
    return None, None
