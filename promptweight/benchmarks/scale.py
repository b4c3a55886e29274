"""Simulation of a batch of a million images on a thousand machines: planning, balance, kills, manifest.

    python -m promptweight.benchmarks.scale
    python -m promptweight.benchmarks.scale --jobs 1000 --images 10000 --shards 100

The plan, the shards and the lines of the manifest are those of `promptweight.batch`; no image is drawn. A
process is killed in the middle of an image and started again with the same command: it plans anew, leaves out
what is finished, and draws the rest. The durations of images are random, of a fixed seed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from promptweight.batch import Plan, Row, Shard, plan_batch
from promptweight.batch.manifest import Manifest
from promptweight.batch.output_folder import MANIFEST_NAME, OutputFolder, read_manifest
from promptweight.models import ModelIdentity

IMAGES, SHARDS, JOBS = 1_000_000, 1_000, 100_000
SEEDS = 100
"""Images of one row of the large plan."""
KILL_RATE = 0.1
"""Probability that a process is killed before it is done."""
MANIFEST_LINES = 10_000
"""Lines of the manifest that are written; the size of the whole is in proportion."""
_SPREAD = 0.3
"""Standard deviation of the logarithm of an image's duration."""
_MODEL = ModelIdentity("owner/model@" + "0" * 40, "owner/model", "0" * 40)


@dataclass(frozen=True)
class Outcome:
    """Outcome of a simulated run on several shards.

    Attributes:
        smallest: number of images of the smallest shard.
        largest: number of images of the largest shard.
        kills: number of processes that were killed; each was started again.
        lost: number of images that were begun and not finished, one for each kill.
        finished: how often each id was finished, summed up by this number; {1: n} for n images, each once.
        longest: the duration of the longest shard, lost images included, as a multiple of the mean.
    """

    smallest: int
    largest: int
    kills: int
    lost: int
    finished: dict[int, int]
    longest: float


def make_rows(number: int, seeds: int = 1) -> list[Row]:
    """Return rows with prompts of their own, each with `seeds` seeds."""
    subjects = ("gato", "rato", "pássaro", "peixe", "barco")
    return [
        Row(
            "jobs.csv",
            line,
            {
                "prompt": f"um ({subjects[line % 5]}:1.2) na praia, número {line}",
                "seeds": tuple(range(seeds)),
            },
        )
        for line in range(1, number + 1)
    ]


def time_planning(rows: Sequence[Row]) -> tuple[Plan, float]:
    """Plan rows; return the plan and the processor time in seconds."""
    begin = time.process_time()
    plan = plan_batch(rows, model=_MODEL)
    return plan, time.process_time() - begin


def simulate_run(plan: Plan, shards: int, *, kill_rate: float = KILL_RATE, seed: int = 0) -> Outcome:
    """Run all shards of a plan, and kill processes at random images.

    Args:
        plan: the plan, which every process has.
        shards: number of machines.
        kill_rate: probability that a process is killed before it is done, 0 to below 1.
        seed: of the kills and the durations.
    """
    rng = random.Random(seed)
    sizes: list[int] = []
    durations: list[float] = []
    finished: Counter[str] = Counter()
    kills = 0
    for number in range(1, shards + 1):
        images = Shard(number, shards).of(plan.images)
        sizes.append(len(images))
        seconds = 0.0
        while unfinished := [image for image in images if image.id not in finished]:
            is_killed = rng.random() < kill_rate
            end = rng.randrange(len(unfinished)) if is_killed else len(unfinished)
            seconds += sum(rng.lognormvariate(0, _SPREAD) for _ in unfinished[:end])
            finished.update(image.id for image in unfinished[:end])
            if is_killed:
                kills += 1
                seconds += rng.random() * rng.lognormvariate(0, _SPREAD)
        durations.append(seconds)
    mean = sum(durations) / len(durations)
    longest = max(durations) / mean if mean else 1.0
    return Outcome(min(sizes), max(sizes), kills, kills, dict(Counter(finished.values())), longest)


def measure_manifest(plan: Plan, lines: int = MANIFEST_LINES) -> tuple[float, float, float]:
    """Write the manifest of the first images of a plan, and read it.

    Returns:
        Bytes of a line, and the processor time in seconds of writing and of reading one.
    """
    images = plan.images[:lines]
    with TemporaryDirectory() as path, OutputFolder(Path(path)) as folder:
        manifest = Manifest(folder, Shard(1, SHARDS), None)
        begin = time.process_time()
        for image in images:
            manifest.add_finished(image, 1.234, [Path(f"{image.stem}.png")], [])
        written = time.process_time() - begin
        begin = time.process_time()
        number = sum(1 for _ in read_manifest(Path(path)))
        read = time.process_time() - begin
        size = (Path(path) / MANIFEST_NAME).stat().st_size
    return size / number, written / number, read / number


def read_peak_memory() -> float | None:
    """Return the peak memory of this process in MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def report_lines(
    images: int = IMAGES,
    shards: int = SHARDS,
    jobs: int = JOBS,
    *,
    kill_rate: float = KILL_RATE,
    seed: int = 0,
) -> Iterator[str]:
    """Yield the lines of the report as they are measured."""
    plan, seconds = time_planning(make_rows(jobs))
    yield f"plan of {len(plan.images):,} jobs: {seconds:.1f} s, {_describe_peak()}"
    del plan
    seeds = min(SEEDS, images)
    plan, seconds = time_planning(make_rows(images // seeds, seeds))
    planned = len(plan.images)
    yield f"plan of {planned:,} images of {images // seeds:,} rows: {seconds:.1f} s, {_describe_peak()}"
    outcome = simulate_run(plan, shards, kill_rate=kill_rate, seed=seed)
    yield f"{shards:,} shards: {outcome.smallest:,} to {outcome.largest:,} images"
    yield f"longest shard: {outcome.longest:.3f} × the mean duration"
    yield f"{outcome.kills:,} processes killed and started again, {outcome.lost:,} images begun twice"
    finished = outcome.finished.get(1, 0)
    yield f"{finished:,} images finished once, {planned - finished:,} never or more than once"
    size, writing, reading = measure_manifest(plan)
    yield (
        f"manifest: {size:.0f} bytes a line, {size * planned / 1e6:,.0f} MB in all; "
        f"{writing * 1e6:.0f} µs to write a line, {reading * planned:.1f} s to read all"
    )


def _describe_peak() -> str:
    peak = read_peak_memory()
    return "peak memory unknown" if peak is None else f"peak memory {peak:,.0f} MB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m promptweight.benchmarks.scale", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--images", type=int, default=IMAGES, help="images of the large plan")
    parser.add_argument("--shards", type=int, default=SHARDS, help="machines that share it")
    parser.add_argument("--jobs", type=int, default=JOBS, help="rows with a prompt of their own")
    parser.add_argument("--kills", type=float, default=KILL_RATE, help="probability that a process is killed")
    parser.add_argument("--seed", type=int, default=0, help="seed of the kills and durations")
    options = parser.parse_args(arguments)
    for name in ("images", "shards", "jobs"):
        if getattr(options, name) < 1:
            parser.error(f"{name} must be 1 or more; got {getattr(options, name)}")
    if not 0 <= options.kills < 1:
        parser.error(f"kills must be from 0 to below 1; got {options.kills:g}")
    settings = {"kill_rate": options.kills, "seed": options.seed}
    for line in report_lines(options.images, options.shards, options.jobs, **settings):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
