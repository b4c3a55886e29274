"""The samplers that the page offers, by the names that other tools give them, and a run with one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from promptweight.models.schedulers import (
    FLOW_SAMPLERS,
    NOISE_SCHEDULES,
    SAMPLERS,
    Sampler,
    make_scheduler,
    sampler_name,
)

OWN = "own"
"""The sampler that a model comes with."""

WITHOUT_SCHEDULE = frozenset(
    (
        "DDIMScheduler",
        "EulerAncestralDiscreteScheduler",
        "LCMScheduler",
        "PNDMScheduler",
        "FlowMatchHeunDiscreteScheduler",
    )
)
"""Schedulers that take none of `NOISE_SCHEDULES`; written out because the page is made without diffusers."""

OTHERS = ("DDPMScheduler", "DEISMultistepScheduler", "DPMSolverSinglestepScheduler", "TCDScheduler")
"""Schedulers of diffusers for which AUTOMATIC1111 has no name."""


def names(*, is_flow: bool) -> tuple[str, ...]:
    """Returns the samplers that a model can be run with, `OWN` first.

    Args:
        is_flow: whether the model was trained by flow matching, as Stable Diffusion 3 and FLUX were.
    """
    table = FLOW_SAMPLERS if is_flow else SAMPLERS
    found = [
        f"{name} {schedule}".rstrip()
        for schedule in ("", *NOISE_SCHEDULES)
        for name, sampler in table.items()
        if _can_run(sampler, schedule)
    ]
    return (OWN, *found, *(() if is_flow else OTHERS))


def canonical(name: object, offered: tuple[str, ...]) -> str | None:
    """Returns the one of `offered` that is written as `name`, in any case; None where there is none."""
    wanted = " ".join(str(name)[:80].split()).casefold()
    return next((each for each in offered if each.casefold() == wanted), None)


@contextmanager
def sampling(pipe: Any, name: str) -> Iterator[None]:
    """Lets a pipeline sample with the sampler of that name inside, and puts its own back.

    Raises:
        SettingError: there is no such sampler for this model.
    """
    own = pipe.scheduler
    if name not in (OWN, sampler_name(own), type(own).__name__):
        pipe.scheduler = make_scheduler(name, own)
    try:
        yield
    finally:
        pipe.scheduler = own


def _can_run(sampler: Sampler, schedule: str) -> bool:
    if schedule and sampler.scheduler in WITHOUT_SCHEDULE:
        return False
    needs_scipy = schedule == "Beta" or sampler.scheduler == "LMSDiscreteScheduler"
    return not needs_scipy or find_spec("scipy") is not None
