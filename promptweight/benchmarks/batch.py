"""Benchmark of batches: images per second, against a plain loop over the pipeline in the same run.

    python -m promptweight.benchmarks.batch --model mini --images 16 --batch-size 8

All methods generate the same images. Every round runs all methods in sequence, so that other load on the
machine affects all of them alike; the results are medians over the rounds. The plain loop is the one of the
diffusers documentation: `pipe(prompt, generator=…).images[0].save(…)`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promptweight.batch import OutputOptions, Plan, Row, plan_batch

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

TIMERS = {"wall": time.perf_counter, "processor": time.process_time}
TIMER_HELP = (
    "processor: the processor time of this program, for a shared machine without a GPU; it excludes the time "
    "of waiting for the disk, and does not measure parallel speedup"
)
PROMPTS = ("um gato vermelho", "a blue bird", "uma casa amarela", "um gato preto persegue um rato cinza")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: measure all methods and print one line per method."""
    parser = argparse.ArgumentParser(prog="python -m promptweight.benchmarks.batch", description=__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timer", choices=sorted(TIMERS), default="wall", help=TIMER_HELP)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    from promptweight.models import load

    pipe = load(options.model, device=options.device, dtype=options.dtype)
    plan = _make_plan(options.model, options.images, options.steps)
    rates = measure_throughput(
        pipe, plan, batch_size=options.batch_size, rounds=options.rounds, timer=TIMERS[options.timer]
    )
    if options.json:
        print(json.dumps({"device": str(pipe._execution_device), "images_per_second": rates}))
        return
    for name, rate in rates.items():
        relative = rate / rates["plain loop"]
        print(f"{name:<28} {rate:8.3f} images per second   {relative:5.2f} × plain loop")


def measure_throughput(
    pipe: Pipeline,
    plan: Plan,
    *,
    batch_size: int,
    rounds: int,
    timer: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the images per second of each method by name: the median over the rounds.

    Args:
        pipe: the pipeline.
        plan: the images to generate.
        batch_size: images per batch of the batched methods.
        rounds: measured runs of each method over the whole plan, after a warm-up run of one batch.
        timer: a function that returns the time in seconds.
    """
    without_metadata = OutputOptions(metadata=())
    methods: dict[str, Callable[[Plan, Path], None]] = {
        "plain loop": lambda plan, folder: _run_plain_loop(pipe, plan, folder),
        "batch of 1": lambda plan, folder: _run_batch(pipe, plan, folder, 1, without_metadata),
        f"batch of {batch_size}": lambda plan, folder: _run_batch(
            pipe, plan, folder, batch_size, without_metadata
        ),
        f"batch of {batch_size}, metadata": lambda plan, folder: _run_batch(
            pipe, plan, folder, batch_size, OutputOptions()
        ),
    }
    for method in methods.values():
        _measure_seconds(method, plan.with_images(plan.images[:batch_size]), timer)
    times: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            times[name].append(_measure_seconds(method, plan, timer))
    return {name: len(plan.images) / statistics.median(seconds) for name, seconds in times.items()}


def _make_plan(model: str, images: int, steps: int) -> Plan:
    rows = [
        Row("bench", number + 1, {"prompt": PROMPTS[number % len(PROMPTS)], "seeds": (number,)})
        for number in range(images)
    ]
    return plan_batch(rows, model=model, defaults={"num_inference_steps": steps})


def _measure_seconds(method: Callable[[Plan, Path], None], plan: Plan, timer: Callable[[], float]) -> float:
    """Return the seconds that `method` takes to write the plan into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        start = timer()
        method(plan, Path(folder))
        return timer() - start


def _run_plain_loop(pipe: Pipeline, plan: Plan, folder: Path) -> None:
    import torch

    from promptweight.models import get_default_guidance_scale

    for planned in plan.images:
        output = pipe(
            planned.job.prompt,
            num_inference_steps=planned.job.options.num_inference_steps,
            guidance_scale=get_default_guidance_scale(pipe),
            generator=torch.Generator("cpu").manual_seed(planned.job.seed),
        )
        output.images[0].save(folder / f"{planned.stem}.png")


def _run_batch(
    pipe: Pipeline, plan: Plan, folder: Path, batch_size: int, output_options: OutputOptions
) -> None:
    from promptweight.batch import LocalExecutor, run

    executor = LocalExecutor(lambda: pipe)
    outcome = run(plan, folder, executor=executor, batch_size=batch_size, output_options=output_options)
    assert outcome.ok == len(plan.images)


if __name__ == "__main__":
    main()
