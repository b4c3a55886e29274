"""Schedulers by diffusers' class names, and by the names that AUTOMATIC1111 has for the same samplers.

pipe.scheduler = make_scheduler("DPM++ 2M Karras", pipe.scheduler)
sampler_name(pipe.scheduler)  # 'DPM++ 2M Karras'
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
    """What a sampler's name stands for in diffusers: a scheduler's class, and settings of it."""

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
"""The samplers of models that predict noise, by AUTOMATIC1111's names (diffusers' own table of them)."""

_UNSEEDED = {"DPMSolverSDEScheduler"}
"""Schedulers that draw noise of their own, so that a seed would not give the same picture again."""

FLOW_SAMPLERS: dict[str, Sampler] = {
    "Euler": Sampler("FlowMatchEulerDiscreteScheduler"),
    "Heun": Sampler("FlowMatchHeunDiscreteScheduler"),
    "LCM": Sampler("FlowMatchLCMScheduler"),
}
"""The samplers of models trained by flow matching (Stable Diffusion 3, FLUX)."""

NOISE_SCHEDULES = {
    "Karras": "use_karras_sigmas",
    "Exponential": "use_exponential_sigmas",
    "Beta": "use_beta_sigmas",
}
"""What may follow a sampler's name, and the setting of a scheduler that it turns on."""


def make_scheduler(name: str, present: Any) -> Any:
    """Return the scheduler of that name for a model whose scheduler is now `present`.

    Args:
        name: a sampler of AUTOMATIC1111 in any case, with one of `NOISE_SCHEDULES` behind it if wanted
            (`DPM++ 2M Karras`), or a scheduler's class name in diffusers (`UniPCMultistepScheduler`).
        present: its settings, which belong to how the model was trained, are kept.

    Raises:
        SettingError: there is no such scheduler, not for this model, or not on this machine.
    """
    import diffusers

    sampler, schedule = _read(name, _samplers_for(present))
    classes = _class_names_for(present)
    class_name = sampler.scheduler if sampler else name
    if class_name not in classes:
        raise SettingError(
            f"scheduler is {name!r}; for this model valid: {', '.join(_samplers_for(present))} "
            f"(each also with {', '.join(NOISE_SCHEDULES)} where it has them), {', '.join(sorted(classes))}"
        )
    scheduler_class = getattr(diffusers, class_name)
    if missing := getattr(scheduler_class, "_backends", None):  # diffusers' stand-in for what cannot run
        raise SettingError(
            message(
                "scheduler-package",
                name=name,
                package=missing[-1],
            )
        )
    settings: dict[str, Any] = dict(sampler.settings) if sampler else {}
    if sampler:
        taken = inspect.signature(scheduler_class).parameters
        if schedule is not None and NOISE_SCHEDULES[schedule] not in taken:
            raise SettingError(f"scheduler is {name!r}, but {class_name} has no schedule {schedule}")
        # Set also where it is off, so that nothing stays on from the scheduler before.
        settings |= {flag: each == schedule for each, flag in NOISE_SCHEDULES.items() if flag in taken}
    try:
        return scheduler_class.from_config(present.config, **settings)
    except (ImportError, ValueError) as error:
        raise SettingError(
            message("scheduler-failed", name=name, reason=error)
        ) from error


def is_known_sampler(name: str) -> bool:
    """Whether some model takes a scheduler of that name: a sampler's, or what may be a class of diffusers."""
    is_sampler = any(_read(name, samplers)[0] is not None for samplers in (SAMPLERS, FLOW_SAMPLERS))
    return is_sampler or name.endswith("Scheduler")


def get_sampler_name(scheduler: Any) -> str | None:
    """Return what AUTOMATIC1111 calls this scheduler of diffusers; None where it has no name for it."""
    config = scheduler.config
    for name, sampler in _samplers_for(scheduler).items():
        if type(scheduler).__name__ == sampler.scheduler and all(
            config.get(setting) == value for setting, value in sampler.settings.items()
        ):
            schedules = [schedule for schedule, flag in NOISE_SCHEDULES.items() if config.get(flag)]
            return " ".join([name, *schedules])
    return None


def _samplers_for(present: Any) -> dict[str, Sampler]:
    return FLOW_SAMPLERS if "FlowMatch" in type(present).__name__ else SAMPLERS


def _class_names_for(present: Any) -> set[str]:
    """Return the classes of schedulers that can take the place of `present`."""
    from diffusers.schedulers import KarrasDiffusionSchedulers

    named = {sampler.scheduler for sampler in _samplers_for(present).values()}
    if "FlowMatch" in type(present).__name__:
        return named
    return (named | {each.name for each in KarrasDiffusionSchedulers} | {"TCDScheduler"}) - _UNSEEDED


def _read(name: str, samplers: Mapping[str, Sampler]) -> tuple[Sampler | None, str | None]:
    """Return the sampler and the noise schedule that `name` asks for; no sampler where it is none."""
    folded = {each.casefold(): each for each in samplers}
    words = " ".join(str(name).split()).casefold()
    if words in folded:
        return samplers[folded[words]], None
    for schedule in NOISE_SCHEDULES:
        base = words.removesuffix(" " + schedule.casefold())
        if base != words and base in folded:
            return samplers[folded[base]], schedule
    return None, None
