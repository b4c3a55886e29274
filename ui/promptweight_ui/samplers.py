"""Samplers and noise schedules that the page offers, two lists as in AUTOMATIC1111.

The page is built without importing diffusers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from promptweight.models import (
    FLOW_SAMPLERS,
    NOISE_SCHEDULES,
    SAMPLERS,
    TIMESTEP_SPACINGS,
    get_sampler_name,
    has_noise_schedule,
    make_scheduler,
)

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

OWN_SAMPLER = "own"
"""The sampler that a model comes with."""

DEFAULT_SCHEDULE = "default"
"""The noise schedule that a sampler has by itself."""

OTHER_SCHEDULERS = ("DDPMScheduler", "TCDScheduler")
"""Schedulers of diffusers without a name in AUTOMATIC1111."""

FLOW_SAMPLERS_WITHOUT_SCHEDULE = ("Heun",)
"""Samplers of flow matching without `NOISE_SCHEDULES`."""


def sampler_names(*, is_flow: bool) -> tuple[str, ...]:
    """Return the samplers of a model, `OWN_SAMPLER` first.

    Args:
        is_flow: whether the model was trained by flow matching, as Stable Diffusion 3 and FLUX were.
    """
    names = [name for name in (FLOW_SAMPLERS if is_flow else SAMPLERS) if name != "LMS" or has_scipy()]
    return (OWN_SAMPLER, *names, *(() if is_flow else OTHER_SCHEDULERS))


def schedule_names(sampler: str, *, is_flow: bool) -> tuple[str, ...]:
    """Return the noise schedules of a sampler, `DEFAULT_SCHEDULE` first."""
    if is_flow:
        has_schedules = sampler in FLOW_SAMPLERS and sampler not in FLOW_SAMPLERS_WITHOUT_SCHEDULE
        found = list(NOISE_SCHEDULES) if has_schedules else []
    else:
        names = (*NOISE_SCHEDULES, *TIMESTEP_SPACINGS)
        found = [name for name in names if has_noise_schedule(sampler, name)]
    return (DEFAULT_SCHEDULE, *(name for name in found if name != "Beta" or has_scipy()))


def join_sampler(sampler: str, schedule: str) -> str | None:
    """Return the name of a sampler with a noise schedule, as `promptweight.load` takes it; None for the own.

    >>> join_sampler("DPM++ 2M", "Karras")
    'DPM++ 2M Karras'
    """
    if sampler == OWN_SAMPLER:
        return None
    return sampler if schedule == DEFAULT_SCHEDULE else f"{sampler} {schedule}"


def split_sampler(name: object, *, is_flow: bool) -> tuple[str, str] | None:
    """Return sampler and noise schedule of a name in any letter case; None if the model does not have them.

    >>> split_sampler("dpm++ 2m  karras", is_flow=False)
    ('DPM++ 2M', 'Karras')
    """
    folded = " ".join(str(name)[:80].split()).casefold()
    for sampler in sampler_names(is_flow=is_flow):
        if folded == sampler.casefold():
            return sampler, DEFAULT_SCHEDULE
        for schedule in schedule_names(sampler, is_flow=is_flow)[1:]:
            if folded == f"{sampler} {schedule}".casefold():
                return sampler, schedule
    return None


@contextmanager
def use_sampler(pipe: Pipeline, name: str) -> Iterator[None]:
    """Set the sampler of a pipeline inside the block, and restore its own afterwards.

    Raises:
        SettingError: the model does not have this sampler.
    """
    own = pipe.scheduler
    if name not in (OWN_SAMPLER, get_sampler_name(own), type(own).__name__):
        pipe.scheduler = make_scheduler(name, own)
    try:
        yield
    finally:
        pipe.scheduler = own


def has_scipy() -> bool:
    """Return whether scipy is installed, which the sampler LMS and the schedule Beta need."""
    return find_spec("scipy") is not None
