"""Which step of which run of a pipeline a call of its model belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from promptweight.conditioning import ROLES, Role


class StepCounter:
    """Counts the steps of a pipeline's runs by the calls of its model.

    A step is one call for each role, whether the pipeline makes a single call with all roles or one after the
    other. No timestep is read: that would make the host wait for the device, and some schedules repeat them.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._timesteps: Any = None
        self.restart()

    def restart(self) -> None:
        """Count from the first step again."""
        self._calls: dict[Role, int] = dict.fromkeys(ROLES, 0)

    def has_begun(self) -> bool:
        """Whether the pipeline has begun another run since the last time this was asked.

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
        """How many steps the run has; 1 when the pipeline does not tell."""
        if self._timesteps is None:
            return 1
        planned = len(self._timesteps)
        # Pictures that begin from another one use the last part of the schedule only.
        return min(planned, getattr(self._pipe, "_num_timesteps", planned))

    def is_of(self, planned: int) -> bool:
        """Whether a run of so many sampling steps calls the model as often as this one."""
        order = getattr(self._pipe.scheduler, "order", 1)
        return planned <= self.steps <= order * planned + 1

    def position(self, step: int, planned: int) -> int:
        """Which of `planned` sampling steps a step belongs to.

        Second-order samplers call the model twice in a sampling step, others twice in the first alone; their
        calls are shared out evenly, which puts both into the step that they work on.
        """
        return min(step * planned // max(1, self.steps), planned - 1)

    def count(self, roles: Iterable[Role]) -> int:
        """The number of the step, from 0, of a call with rows of these roles; the next call has the next."""
        roles = set(roles)
        step = max((self._calls[role] for role in roles), default=0)
        self._calls |= dict.fromkeys(roles, step + 1)
        return step

    def is_repeated(self, roles: Iterable[Role]) -> bool:
        """Whether a call with rows of these roles comes again in its step, as modular guiders make them.

        Such a guider tells its step. What it calls for after the prompt's own turn is the prompt under
        disturbed attention or without some layers.
        """
        step = getattr(getattr(self._pipe, "guider", None), "_step", None)
        roles = set(roles)
        return isinstance(step, int) and bool(roles) and all(self._calls[role] > step for role in roles)

    @property
    def current(self) -> int:
        """The step of the last call that was counted."""
        return max(0, max(self._calls.values()) - 1)
