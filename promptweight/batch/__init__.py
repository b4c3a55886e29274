"""Batches: many pictures from a job file, in a run that can be killed, continued, split and trusted.

    from promptweight import batch

    jobs = batch.read("prompts.txt")              # errors as file:line:column, before anything is loaded
    plan = batch.make_plan(jobs, model="mini")
    outcome = batch.run(plan, "out", batch_size=4)

The way of a job: `sources` reads rows, `sweep` multiplies them, `plan` gives each picture its id, `folder`
knows which are finished and who works on what, `engine` runs, `working` (or `on_ray`) makes the rest,
`encodings` reads the prompts, `drawing` calls the model, `saving` writes, `ledger` notes what became of each.
Reading and planning need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptweight.batch.job_files import read as read
    from promptweight.batch.jobs import Job as Job
    from promptweight.batch.plan import make_plan as make_plan
    from promptweight.batch.runner import run as run

_HOMES = {"Job": "job", "make_plan": "plan", "read": "sources", "run": "engine"}

__all__ = ["Job", "make_plan", "read", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"promptweight.batch.{_HOMES[name]}"), name)
