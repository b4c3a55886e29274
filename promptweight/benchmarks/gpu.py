"""Benchmark of recording and weighting on a GPU, in full size with random weights, as a Markdown table.

    python -m promptweight.benchmarks.gpu --out gpu.md          # at most ten minutes
    python -m promptweight.benchmarks.gpu --small               # tiny sizes on the CPU: shows that it runs
    python -m promptweight.benchmarks.gpu --tests               # the tests that need CUDA too, of a checkout

Each model of `promptweight.benchmarks.models` is built in turn with the sizes of its published configuration,
in bfloat16. Every round runs all cases in sequence, and ratios are computed per round, as in
`promptweight.benchmarks.attention`. The table is written after every model, so that a run that ends early
keeps what it measured. Where attention-map-diffusers is installed, it records the same calls; its time
includes `compute()`, without which it has no maps.
"""

from __future__ import annotations

import argparse
import gc
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import BinaryIO

import torch

from promptweight import atomic_files
from promptweight.benchmarks.attention import Timing, summarize, time_calls
from promptweight.benchmarks.models import ARCHITECTURES, build_denoiser, prepare_model
from promptweight.benchmarks.peers import RECORDER, list_cases
from promptweight.models import choose_device, summarize_error

PACKAGES = ("promptweight", "torch", "diffusers", "transformers", RECORDER)
MINUTES = 10.0
ROUNDS = 5
STEPS = 2
"""Calls of the model in a timed run."""
_SMALL_SIZE = 8


@dataclass(frozen=True)
class ModelReport:
    """Timings of one model.

    Attributes:
        model: its name.
        billions: the number of its parameters, in 10⁹.
        timings: one for each case that ended, the plain one first.
        failures: the reasons why other cases have no timing, by case; "" for the model as a whole.
    """

    model: str
    billions: float
    timings: tuple[Timing, ...]
    failures: dict[str, str]


def measure_model(
    model: str, device: str, dtype: str, *, rounds: int = ROUNDS, steps: int = STEPS, small: bool = False
) -> ModelReport:
    """Build a model, and measure all cases; a case that fails is named with its reason.

    Args:
        model: one of `ARCHITECTURES`.
        device: a torch device.
        dtype: as in `promptweight.load`.
        rounds: measured runs of every case, after one warm-up round.
        steps: calls of the model in a run.
        small: whether the model has tiny sizes.
    """
    denoiser = build_denoiser(model, None, device, dtype, small=small)
    billions = sum(each.numel() for each in denoiser.parameters()) / 1e9
    subject = prepare_model(denoiser, _SMALL_SIZE if small else None)
    cases = list_cases(subject)
    times: dict[str, list[float]] = {case: [] for case in cases}
    peaks: dict[str, float | None] = {}
    failures: dict[str, str] = {}
    for round_number in range(rounds + 1):
        for case, enter in cases.items():
            if case in failures:
                continue
            try:
                with enter() as call, torch.no_grad():
                    seconds, peaks[case] = time_calls(call, steps, device)
            except Exception as error:  # out of memory, or an error of another library
                failures[case] = f"{type(error).__name__}: {summarize_error(error)}"
                continue
            if round_number:  # the first round warms up
                times[case].append(seconds / steps)
    plain = times["plain"]
    timings = [
        summarize(case, times[case], plain, peaks[case])
        for case in cases
        if case not in failures and "plain" not in failures
    ]
    return ModelReport(model, billions, tuple(timings), failures)


def measure(
    models: Sequence[str],
    device: str,
    dtype: str,
    *,
    minutes: float = MINUTES,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    small: bool = False,
) -> Iterator[ModelReport]:
    """Yield the report of each model; no model is begun after the time is over."""
    end = monotonic() + 60 * minutes
    for model in models:
        if monotonic() >= end:
            yield ModelReport(model, 0.0, (), {"": f"the {minutes:g} minutes were over"})
            continue
        try:
            report = measure_model(model, device, dtype, rounds=rounds, steps=steps, small=small)
        except Exception as error:  # it does not fit on the device
            report = ModelReport(model, 0.0, (), {"": f"{type(error).__name__}: {summarize_error(error)}"})
        yield report
        gc.collect()
        if torch.device(device).type == "cuda":
            torch.cuda.empty_cache()


def describe_machine(device: str, dtype: str) -> str:
    """Return the name of the device and the versions of the libraries in one line."""
    kind = torch.device(device).type
    name = torch.cuda.get_device_name(device) if kind == "cuda" else f"{platform.machine()} {kind}"
    versions = ", ".join(f"{package} {_find_version(package)}" for package in PACKAGES)
    return f"{name}, {dtype}; {versions}"


def _find_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def format_report(machine: str, reports: Sequence[ModelReport], *, rounds: int, steps: int) -> str:
    """Return the measurements as Markdown."""
    lines = [
        machine,
        "",
        f"Medians of {rounds} rounds of {steps} calls; × plain is the ratio to the plain run of a round.",
        "",
        "| model | 10⁹ parameters | case | ms per call | × plain | from – to | peak MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        head = f"| {report.model} | {report.billions:.2f} "
        for timing in report.timings:
            low, high = timing.ratio_range
            peak = "unknown" if timing.peak_mb is None else f"{timing.peak_mb:.0f}"
            lines.append(
                f"{head}| {timing.case} | {timing.seconds * 1e3:.4g} | {timing.ratio:.3f} "
                f"| {low:.3f} – {high:.3f} | {peak} |"
            )
        lines += [
            f"{head}| {case or 'all'} | not measured: {_escape(reason)} | | | |"
            for case, reason in report.failures.items()
        ]
    return "\n".join(lines) + "\n"


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def run_tests() -> int:
    """Run the tests that need a GPU, of the checkout that this file is in; return pytest's exit status."""
    tests = Path(__file__).resolve().parents[2] / "tests"
    if not (tests / "conftest.py").is_file():
        print(f"--tests needs a checkout with its tests; {tests} has none", file=sys.stderr)
        return 2
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(tests)]).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and write it; return the exit status."""
    known = ", ".join(ARCHITECTURES)
    parser = argparse.ArgumentParser(
        prog="python -m promptweight.benchmarks.gpu", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {known} (default: all)")
    parser.add_argument("--device", default=None, help="a torch device (default: cuda, or cpu with --small)")
    parser.add_argument("--dtype", default="bfloat16", help="bfloat16 (default), float16 or float32")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"timed rounds (default: {ROUNDS})")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"calls in a timed run (default: {STEPS})")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time after which no model is begun")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to show that the benchmark runs")
    parser.add_argument("--tests", action="store_true", help="run the tests that need CUDA first")
    parser.add_argument("--out", type=Path, help="file of the table")
    options = parser.parse_args(arguments)
    unknown = [model for model in options.models if model not in ARCHITECTURES]
    if unknown:
        parser.error(f"models must be of: {known}; got {unknown[0]}")
    if options.rounds < 1 or options.steps < 1:
        parser.error(f"rounds and steps must be 1 or more; got {min(options.rounds, options.steps)}")
    device = choose_device(options.device or ("cpu" if options.small else "auto"))
    if torch.device(device).type == "cpu" and not options.small:
        parser.error("no GPU is available; --small runs tiny sizes on the CPU")
    status = run_tests() if options.tests else 0
    settings = {"rounds": options.rounds, "steps": options.steps}
    machine = describe_machine(device, options.dtype)
    reports: list[ModelReport] = []
    for report in measure(
        options.models or ARCHITECTURES,
        device,
        options.dtype,
        minutes=options.minutes,
        small=options.small,
        **settings,
    ):
        reports.append(report)
        print(f"{report.model}: {len(report.timings)} cases", file=sys.stderr, flush=True)
        if options.out is not None:
            table = format_report(machine, reports, **settings).encode()
            atomic_files.write_atomically(options.out, partial(_write, table), overwrite=True)
    print(format_report(machine, reports, **settings), end="")
    return status or int(any(not report.timings for report in reports))


if __name__ == "__main__":
    sys.exit(main())
