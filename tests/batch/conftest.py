"""Plans for the tiny model, and runs of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptweight.batch import make_plan
from promptweight.batch.job_rows import Row
from promptweight.batch.plan import Plan
from promptweight.batch.runner import Outcome, run


@pytest.fixture
def plan_of(model_folder: Path) -> Callable[..., Plan]:
    """Makes a plan of prompts for the tiny model, of one step unless said otherwise."""

    def plan_of(*prompts: str, sweep: Any = None, **values: Any) -> Plan:
        values = {"num_inference_steps": 1, "seeds": (1,), **values}
        rows = [Row("jobs.txt", line, {"prompt": each, **values}) for line, each in enumerate(prompts, 1)]
        return make_plan(rows, model=str(model_folder), **({} if sweep is None else {"sweep": sweep}))

    return plan_of


@pytest.fixture
def run_in(tmp_path: Path, tiny_pipe: Any) -> Callable[..., tuple[Outcome, list[dict[str, Any]]]]:
    """Runs a plan in the folder `out`; returns what became of it and the lines that were told."""

    def run_in(plan: Plan, **options: Any) -> tuple[Outcome, list[dict[str, Any]]]:
        lines: list[dict[str, Any]] = []
        options = {"load": lambda: tiny_pipe, "tell": lines.append, **options}
        return run(plan, tmp_path / "out", **options), lines

    return run_in
