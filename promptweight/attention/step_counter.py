"""Step counter: the run and the step of a pipeline to which a call of its model belongs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from promptweight.conditioning import ROLES, Role

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


class StepCounter:
    """Counter of the steps of a pipeline's runs, by the calls of its model.

    A step has one call for each role, in a single call with all roles or in one call after the other. No
    timestep is compared: that would make the host wait for the device, and some schedules repeat timesteps.
    """

    def __init__(self, pipe: Pipeline) -> None:
        self._pipe = pipe
        self._timesteps: Any = None
        self.restart()

    def restart(self) -> None:
        """Count from the first step again."""
        self._calls: dict[Role, int] = dict.fromkeys(ROLES, 0)

    def skip_to(self, step: int) -> None:
        """Continue with this step, from 0, of the pipeline's last run."""
        self.detect_new_run()
        self._calls = dict.fromkeys(ROLES, step)

    def detect_new_run(self) -> bool:
        """Return True if the pipeline has begun another run since the last call of this method.

        Every run makes its schedule anew, so another tensor of timesteps means another run.
        """
        timesteps = getattr(getattr(self._pipe, "scheduler", None), "timesteps", None)
        if timesteps is self._timesteps:
            return False
        self._timesteps = timesteps
        self.restart()
        return True

    @property
    def steps(self) -> int:
        """Number of steps of the run; 1 for a pipeline without a schedule."""
        if self._timesteps is None:
            return 1
        scheduled = len(self._timesteps)
        # A run that begins from an image uses only the last part of the schedule.
        return min(scheduled, getattr(self._pipe, "_num_timesteps", scheduled))

    def matches_plan(self, planned: int) -> bool:
        """Return True if a run of `planned` sampling steps calls the model as often as this one."""
        order = getattr(self._pipe.scheduler, "order", 1)
        return planned <= self.steps <= order * planned + 1

    def planned_position(self, step: int, planned: int) -> int:
        """Return the index, among `planned` sampling steps, of the one to which a step belongs.

        Second-order samplers call the model twice in a sampling step, others twice in the first only. An even
        division of the calls assigns both to the sampling step of their latents.
        """
        return min(step * planned // max(1, self.steps), planned - 1)

    def count(self, roles: Iterable[Role]) -> int:
        """Count a call with rows of these roles; return the number of its step, from 0."""
        roles = set(roles)
        step = max((self._calls[role] for role in roles), default=0)
        self._calls |= dict.fromkeys(roles, step + 1)
        return step

    def is_repeated(self, roles: Iterable[Role]) -> bool:
        """Return True if a call with rows of these roles repeats one of its step, as in modular guiders.

        Such a guider has the number of its step. Its calls after the prompt's own are for the prompt under
        perturbed attention or without some layers.
        """
        step = getattr(getattr(self._pipe, "guider", None), "_step", None)
        roles = set(roles)
        return isinstance(step, int) and bool(roles) and all(self._calls[role] > step for role in roles)

    @property
    def current(self) -> int:
        """Step of the last counted call."""
        return max(0, max(self._calls.values()) - 1)
