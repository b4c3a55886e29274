"""Benchmark of attention recording and weighting: time and memory of one model's calls in several cases.

    for timing in benchmark_attention("sd15", layers=1, size=32):
        print(timing.case, timing.seconds, timing.ratio)

Every round runs all cases in sequence, so that other load on the machine affects all of them alike; ratios
are computed per round. Weights are random: their values do not affect the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from promptweight import validation
from promptweight.attention import (
    LayerHook,
    TokenOrder,
    attach,
    install,
    is_swappable,
    make_processor,
    read_layout,
    require_hook,
    uninstall,
)
from promptweight.benchmarks.models import BenchmarkModel, build_denoiser, prepare_model
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.models import choose_device
from promptweight.weighting import Weighting

Timer = Literal["wall", "processor"]
"""Wall time, or the processor time of all threads, which excludes other programs on a shared machine and also
the time that a thread waits."""


@dataclass(frozen=True)
class Timing:
    """Time and memory of one case."""

    case: str
    seconds: float
    """Median time of a run."""
    ratio: float
    """Median over the rounds of the ratio to the plain run of the same round."""
    ratio_range: tuple[float, float]
    """Lowest and highest of these ratios."""
    peak_mb: float | None
    """Peak memory of a run in MiB, of a CUDA device or of the process on a CPU; None if unknown."""


def benchmark_attention(
    model: str = "sd15",
    *,
    layers: int | None = None,
    size: int | None = None,
    steps: int = 1,
    rounds: int = 5,
    device: str = "auto",
    dtype: str = "auto",
    timer: Timer = "wall",
    progress: Callable[[int, int], object] | None = None,
) -> list[Timing]:
    """Measure the denoising model's calls: plain, recorded, weighted, both, and with a naive softmax.

    Args:
        model: one of `promptweight.benchmarks.models.ARCHITECTURES`, built in full size with random weights,
            or any model that `promptweight.load` accepts.
        layers: number of levels of a UNet with attention, or of blocks of a transformer; None for all.
        size: side length of the latents; None for the model's default.
        steps: calls of the model per run, each with two batch rows: a negative prompt and a prompt.
        rounds: measured runs of every case, after one warm-up round.
        device: as in `promptweight.load`.
        dtype: as in `promptweight.load`.
        timer: "wall" or "processor"; "processor" requires a CPU.
        progress: called after every run with the number of finished runs and of all runs.

    Returns:
        One timing per case, the plain one first.

    Raises:
        SettingError: an argument is out of range.
        ModelError: the model type is not supported.
    """
    for name, value in (("layers", layers), ("size", size), ("steps", steps), ("rounds", rounds)):
        if value is not None and value < 1:
            raise SettingError(message("benchmark-minimum", name=name, value=value))
    validation.check_choice("timer", timer, get_args(Timer))
    device = choose_device(device)
    if timer == "processor" and torch.device(device).type != "cpu":
        raise SettingError(message("benchmark-timer", device=device))
    subject = prepare_model(build_denoiser(model, layers, device, dtype), size)
    cases = make_cases(subject)
    times: dict[str, list[float]] = {case: [] for case in cases}
    peaks: dict[str, float | None] = {}
    for round_number in range(rounds + 1):
        for run, (case, make_context) in enumerate(cases.items(), round_number * len(cases) + 1):
            with make_context(), torch.no_grad():
                seconds, peaks[case] = time_calls(subject.call, steps, device, timer)
            if round_number:  # the first round warms up
                times[case].append(seconds)
            if progress is not None:
                progress(run, (rounds + 1) * len(cases))
    return [summarize(case, seconds, times["plain"], peaks[case]) for case, seconds in times.items()]


def summarize(case: str, seconds: list[float], plain: list[float], peak_mb: float | None) -> Timing:
    """Return the timing of a case from its run times and the plain run times, in seconds, by round."""
    ratios = [own / other for own, other in zip(seconds, plain, strict=True)]
    return Timing(case, median(seconds), median(ratios), (min(ratios), max(ratios)), peak_mb)


def make_cases(subject: BenchmarkModel) -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    """Return a factory for each case: the context manager in which the model is called."""
    pipe, encoded = subject.pipe, subject.encoded
    in_attention = replace(encoded.settings, weighting=Weighting("attention"))
    with_weights = replace(encoded, settings=in_attention)
    recorded = attach(pipe, encoded)
    weighted = attach(pipe, with_weights, record=False)
    both = attach(pipe, with_weights)
    return {
        "plain": nullcontext,
        "recorded": lambda: recorded,
        "weighted": lambda: weighted,
        "both": lambda: both,
        "naive softmax": lambda: naive_softmax(subject),
    }


class NaiveSoftmax(LayerHook):
    """Attention that materializes the whole softmax and keeps the mean over heads of the text columns."""

    def __init__(self, order: TokenOrder, text: int) -> None:
        super().__init__(order=order)
        self.text_columns = {
            "cross": slice(None),
            "image first": slice(-text, None),
            "text first": slice(text),
        }[order]
        self.text_weights: Tensor | None = None
        """Of the last batch row, (queries, text columns)."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Return the output of attention; arguments as in `LayerHook.attend`."""
        logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        weights = (logits if mask is None else logits + mask).softmax(-1)
        self.text_weights = weights[-1].mean(0)[:, self.text_columns]
        return weights @ value


@contextmanager
def naive_softmax(subject: BenchmarkModel) -> Iterator[None]:
    """Install `NaiveSoftmax` in every layer with text attention, as tools without a fused kernel do."""
    layers = read_layout(subject.pipe).layers
    text = subject.encoded.inputs["prompt_embeds"].shape[1]
    originals = {name: attn.processor for name, (_, attn) in layers.items()}
    try:
        for name, (layer, attn) in layers.items():
            hook: LayerHook = NaiveSoftmax(layer.order, text)
            if not is_swappable(originals[name]):
                processor = require_hook(make_processor(originals[name]), name, originals[name])
                processor.attend = hook.attend  # type: ignore[method-assign]
                hook = processor
            install(attn, originals[name], hook)
        yield
    finally:
        for name, (_, attn) in layers.items():
            uninstall(attn, originals[name])


def time_calls(
    call: Callable[[], Any], steps: int, device: str, timer: Timer = "wall"
) -> tuple[float, float | None]:
    """Return the seconds and the peak memory in MiB of `steps` calls."""
    now = perf_counter if timer == "wall" else process_time
    device_type = torch.device(device).type
    if device_type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    has_peak = device_type == "cpu" and _reset_peak_memory()
    _synchronize(device)
    start = now()
    for _ in range(steps):
        call()
    _synchronize(device)
    seconds = now() - start
    if device_type == "cuda":
        return seconds, torch.cuda.max_memory_allocated(device) / 2**20
    return seconds, _read_peak_memory() if has_peak else None


def _synchronize(device: str) -> None:
    """Wait for all work that was submitted to the device."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(torch.device(device))


def _reset_peak_memory() -> bool:
    """Reset the peak memory of the process; return False where the system cannot (only Linux can)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _read_peak_memory() -> float | None:
    """Return the peak resident memory of the process in MiB since `_reset_peak_memory`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None
