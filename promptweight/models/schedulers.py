"""Schedulers by the class names of diffusers, and by AUTOMATIC1111's names of the same samplers.

pipe.scheduler = make_scheduler("DPM++ 2M Karras", pipe.scheduler)
get_sampler_name(pipe.scheduler)  # 'DPM++ 2M Karras'

Samplers that AUTOMATIC1111 lacks have names of the same kind (`DPM++ 2S`, `DPM++ 3M`, `DEIS`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import wraps
from types import MethodType
from typing import Any

from promptweight.errors import SettingError
from promptweight.messages import message


@dataclass(frozen=True)
class Sampler:
    """The scheduler of a sampler in diffusers: its class name, and settings of it."""

    scheduler: str
    settings: Mapping[str, str | bool | int] = field(default_factory=dict)


def _dpm_solver(kind: str, algorithm: str, order: int, solver: str = "midpoint") -> Sampler:
    """Return a DPM-Solver with every setting in which one differs from another."""
    settings: dict[str, str | bool | int] = {
        "algorithm_type": algorithm,
        "solver_order": order,
        "solver_type": solver,
    }
    if kind == "Singlestep":
        settings["lower_order_final"] = True  # needed for the last step to sigma 0
    return Sampler(f"DPMSolver{kind}Scheduler", settings)


SAMPLERS: dict[str, Sampler] = {
    "DDIM": Sampler("DDIMScheduler"),
    "DEIS": Sampler("DEISMultistepScheduler"),
    "DPM++ 2M": _dpm_solver("Multistep", "dpmsolver++", 2),
    "DPM++ 2M SDE": _dpm_solver("Multistep", "sde-dpmsolver++", 2),
    "DPM++ 2M SDE Heun": _dpm_solver("Multistep", "sde-dpmsolver++", 2, "heun"),
    "DPM++ 2S": _dpm_solver("Singlestep", "dpmsolver++", 2),
    "DPM++ 3M": _dpm_solver("Multistep", "dpmsolver++", 3),
    "DPM++ 3M SDE": _dpm_solver("Multistep", "sde-dpmsolver++", 3),
    "DPM++ SDE": _dpm_solver("Singlestep", "sde-dpmsolver++", 2),
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

TIMESTEP_SPACINGS: dict[str, Mapping[str, str | int]] = {
    "SGM Uniform": {"timestep_spacing": "trailing"},
    "Simple": {"timestep_spacing": "trailing"},
    "Normal": {"timestep_spacing": "linspace"},
    "Uniform": {"timestep_spacing": "linspace"},
    "DDIM": {"timestep_spacing": "leading", "steps_offset": 1},
}
"""Noise schedules after a sampler name that are spacings of the timesteps, and the settings of them."""

_SPACING = "_promptweight_spacing"
"""Setting of a scheduler with a spacing by name: the name, and the spacing that the model comes with.

Its name begins with an underscore, so that diffusers does not warn of a setting that it does not know.
"""

_SPACED_CLASSES = {
    "trailing": (
        "DDIMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
        "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler",
        "UniPCMultistepScheduler",
    ),
    "linspace": (
        "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler",
    ),
    "leading": (
        "DDIMScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler",
    ),
}  # fmt: skip
"""Schedulers that take the timesteps of a spacing as AUTOMATIC1111 does; others ignore or change them."""

_WITHOUT_NOISE_SCHEDULES = {
    "DDIMScheduler", "DDPMScheduler", "EulerAncestralDiscreteScheduler", "FlowMatchHeunDiscreteScheduler",
    "LCMScheduler", "PNDMScheduler", "TCDScheduler",
}  # fmt: skip
"""Schedulers without `NOISE_SCHEDULES`; listed, so that names are checked without importing diffusers."""


def make_scheduler(name: str, current: Any) -> Any:
    """Make the scheduler of that name for a model whose scheduler is `current`.

    Args:
        name: a sampler of AUTOMATIC1111 in any case, followed by one of `NOISE_SCHEDULES` or
            `TIMESTEP_SPACINGS` if wanted (`DPM++ 2M Karras`, `Euler SGM Uniform`), or the class name of a
            scheduler of diffusers (`UniPCMultistepScheduler`).
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
            message(
                "scheduler-unknown",
                samplers=", ".join(_samplers_for(current)),
                additions=", ".join((*NOISE_SCHEDULES, *TIMESTEP_SPACINGS)),
                classes=", ".join(sorted(classes)),
                name=name,
            )
        )
    scheduler_class = getattr(diffusers, class_name)
    if missing := getattr(
        scheduler_class, "_backends", None
    ):  # diffusers' placeholder class without its package
        raise SettingError(message("scheduler-package", name=name, package=missing[-1]))
    taken = inspect.signature(scheduler_class).parameters
    if schedule is not None and not _has_schedule(class_name, schedule, current):
        raise SettingError(message("scheduler-schedule", schedule=schedule, class_name=class_name, name=name))
    earlier = (current.config.get(_SPACING) or {}).get("own", {})  # no spacing is inherited either
    settings: dict[str, Any] = {each: value for each, value in earlier.items() if each in taken}
    if sampler:
        settings |= sampler.settings
        # Flags are also set to False, since the current scheduler may have another one enabled.
        settings |= {flag: each == schedule for each, flag in NOISE_SCHEDULES.items() if flag in taken}
    spacing = TIMESTEP_SPACINGS.get(schedule or "", {}) if "timestep_spacing" in taken else {}
    own = {each: settings.get(each, current.config.get(each)) for each in spacing}
    try:
        made = scheduler_class.from_config(current.config, **{**settings, **spacing})
    except (ImportError, ValueError) as error:
        raise SettingError(message("scheduler-failed", name=name, reason=error)) from error
    if spacing or _SPACING in made.config:
        made.register_to_config(**{_SPACING: {"schedule": schedule, "own": own} if spacing else {}})
    _begin_at_first_sigma(made)
    return made


def _begin_at_first_sigma(scheduler: Any) -> None:
    """Let every run with a scheduler of diffusers begin at its first sigma.

    diffusers finds the first sigma by its timestep, and takes the second of equal timesteps. Noise schedules
    round timesteps, and with betas of zero terminal SNR the first ones are often equal: the run would skip a
    sigma, and its last step fail. Pipelines that begin in the middle, from an image, set their own beginning
    afterwards.
    """
    if not hasattr(scheduler, "set_begin_index"):
        return

    @wraps(type(scheduler).set_timesteps)
    def set_timesteps(self: Any, *arguments: Any, **options: Any) -> None:
        type(self).set_timesteps(self, *arguments, **options)
        self.set_begin_index(0)

    scheduler.set_timesteps = MethodType(set_timesteps, scheduler)  # rebound when the scheduler is copied


def is_known_sampler(name: str) -> bool:
    """Return whether `name` is a sampler of some model, or can be the name of a scheduler class."""
    is_sampler = any(_split_name(name, samplers)[0] is not None for samplers in (SAMPLERS, FLOW_SAMPLERS))
    return is_sampler or name.endswith("Scheduler")


def has_noise_schedule(sampler: str, schedule: str) -> bool:
    """Return whether a sampler of `SAMPLERS` has a noise schedule, or a spacing, of that name.

    >>> has_noise_schedule("DPM++ 2M", "Karras"), has_noise_schedule("Euler a", "Karras")
    (True, False)
    """
    return sampler in SAMPLERS and schedule in _list_schedules(SAMPLERS[sampler].scheduler)


def get_sampler_name(scheduler: Any) -> str | None:
    """Return AUTOMATIC1111's name of a scheduler of diffusers; None where it has no name."""
    config = scheduler.config
    for name, sampler in _samplers_for(scheduler).items():
        if type(scheduler).__name__ == sampler.scheduler and all(
            config.get(setting) == value for setting, value in sampler.settings.items()
        ):
            schedules = [schedule for schedule, flag in NOISE_SCHEDULES.items() if config.get(flag)]
            if config.get(_SPACING):
                schedules.append(config[_SPACING]["schedule"])
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


def _has_schedule(class_name: str, schedule: str, current: Any) -> bool:
    """Return whether a class of schedulers has a noise schedule, for the model of `current`."""
    if schedule == "Simple" and class_name == "FlowMatchEulerDiscreteScheduler":
        # The pipelines of models with such a shift (FLUX) pass the sigmas of Simple to the scheduler.
        return bool(current.config.get("use_dynamic_shifting") or current.config.get("shift") == 1)
    return schedule in _list_schedules(class_name)


def _list_schedules(class_name: str) -> list[str]:
    """Return the names of the noise schedules and spacings that a class of schedulers has."""
    noise = [] if class_name in _WITHOUT_NOISE_SCHEDULES else list(NOISE_SCHEDULES)
    return noise + [
        name
        for name, settings in TIMESTEP_SPACINGS.items()
        if class_name in _SPACED_CLASSES[str(settings["timestep_spacing"])]
    ]


def _split_name(name: str, samplers: Mapping[str, Sampler]) -> tuple[Sampler | None, str | None]:
    """Split `name` into a sampler and a noise schedule; (None, None) where it is not a sampler name."""
    folded = {each.casefold(): each for each in samplers}
    words = " ".join(str(name).split()).casefold()
    if words in folded:
        return samplers[folded[words]], None
    for schedule in (*NOISE_SCHEDULES, *TIMESTEP_SPACINGS):
        base = words.removesuffix(" " + schedule.casefold())
        if base != words and base in folded:
            return samplers[folded[base]], schedule
    return None, None
