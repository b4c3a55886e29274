"""How fast batches are: against the bare pipeline in a loop, in the same run.

    python -m promptweight.benchmarks.batch --model mini --pictures 16 --batch-size 8

Every way makes the same pictures. They take turns, several rounds of each, so that whatever else the machine
does meets all of them; told are the medians. The bare loop is what diffusers' own documentation shows:
`pipe(prompt, generator=…).images[0].save(…)`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from promptweight.batch import OutputOptions, Plan, Row, plan_batch

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CLOCK_HELP = (
    "cpu: the processor time of this program, for a busy machine without a GPU; it does not see waiting for "
    "the disk, nor what runs at the same time"
)
PROMPTS = ("um gato vermelho", "a blue bird", "uma casa amarela", "um gato preto persegue um rato cinza")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measures, and prints a line for each way."""
    parser = argparse.ArgumentParser(prog="python -m promptweight.benchmarks.batch", description=__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help=CLOCK_HELP)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    from promptweight.models import load

    pipe = load(asked.model, device=asked.device, dtype=asked.dtype)
    plan = _plan(asked.model, asked.pictures, asked.steps)
    measured = measure(
        pipe, plan, batch_size=asked.batch_size, rounds=asked.rounds, clock=CLOCKS[asked.clock]
    )
    bare = measured["bare loop"]
    if asked.json:
        print(json.dumps({"device": str(pipe._execution_device), "pictures_per_second": measured}))
        return
    for name, rate in measured.items():
        print(f"{name:<28} {rate:8.3f} pictures a second   {rate / bare:5.2f} of the bare loop")


def measure(
    pipe: Any, plan: Plan, *, batch_size: int, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the pictures a second of each way, by its name: the median over the rounds.

    Args:
        pipe: the pipeline.
        plan: what is made.
        batch_size: of the way that draws several at once.
        rounds: how often each way makes everything; a first one of a batch is not counted.
        clock: gives the time in seconds.
    """
    bare = OutputOptions(metadata=())
    ways: dict[str, Callable[[Plan, Path], None]] = {
        "bare loop": lambda plan, folder: _bare_loop(pipe, plan, folder),
        "batch, one by one": lambda plan, folder: _batch(pipe, plan, folder, 1, bare),
        f"batch of {batch_size}": lambda plan, folder: _batch(pipe, plan, folder, batch_size, bare),
        f"batch of {batch_size}, metadata": lambda plan, folder: _batch(
            pipe, plan, folder, batch_size, OutputOptions()
        ),
    }
    for way in ways.values():
        _seconds(way, plan.taking(plan.pictures[:batch_size]), clock)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(_seconds(way, plan, clock))
    return {name: len(plan.pictures) / statistics.median(seconds) for name, seconds in taken.items()}


def _plan(model: str, pictures: int, steps: int) -> Plan:
    rows = [
        Row("bench", number + 1, {"prompt": PROMPTS[number % len(PROMPTS)], "seeds": (number,)})
        for number in range(pictures)
    ]
    return plan_batch(rows, model=model, defaults={"num_inference_steps": steps})


def _seconds(way: Callable[[Plan, Path], None], plan: Plan, clock: Callable[[], float]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = clock()
        way(plan, Path(folder))
        return clock() - start


def _bare_loop(pipe: Any, plan: Plan, folder: Path) -> None:
    import torch

    from promptweight.models import default_guidance_scale

    for picture in plan.pictures:
        output = pipe(
            picture.job.prompt,
            num_inference_steps=picture.job.num_inference_steps,
            guidance_scale=default_guidance_scale(pipe),
            generator=torch.Generator("cpu").manual_seed(picture.job.seed),
        )
        output.images[0].save(folder / f"{picture.stem}.png")


def _batch(pipe: Any, plan: Plan, folder: Path, batch_size: int, saving: OutputOptions) -> None:
    from promptweight.batch import run

    outcome = run(plan, folder, batch_size=batch_size, saving=saving, load=lambda: pipe)
    assert outcome.ok == len(plan.pictures)


if __name__ == "__main__":
    main()
