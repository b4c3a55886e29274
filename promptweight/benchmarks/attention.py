"""What recording and weighting cost: one model, called plainly and in every other way, turn by turn.

    for row in bench("sd15", layers=1, size=32):
        print(row.way, row.seconds, row.ratio)

The ways take turns within every round, so that whatever else the machine does falls on all of them alike, and
ratios are taken round by round. Weights are random: their values do not matter to the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from promptweight import validation
from promptweight.attention import (
    CallState,
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
from promptweight.benchmarks.models import Subject, build, prepare
from promptweight.errors import SettingError
from promptweight.models import choose_device

Clock = Literal["wall", "processor"]
"""Time as it passes, or the processor time of all threads: on a machine that does other things as well, what
these take does not count, but neither does a thread's waiting."""


@dataclass(frozen=True)
class Row:
    """How long one way of calling the model takes, and what it holds."""

    way: str
    seconds: float
    """Median of a run of so many steps."""
    ratio: float
    """Median over the rounds of its time to the plain run's of the same round."""
    ratios: tuple[float, float]
    """The least and the most of these."""
    peak_mb: float | None
    """Most memory in MiB during a run, of a CUDA device or of the process on a CPU; None where not known."""


def bench(
    model: str = "sd15",
    *,
    layers: int | None = None,
    size: int | None = None,
    steps: int = 1,
    rounds: int = 5,
    device: str = "auto",
    dtype: str = "auto",
    clock: Clock = "wall",
    progress: Callable[[int, int], object] | None = None,
) -> list[Row]:
    """Time the denoising model's part of a run: plain, recorded, weighted, both, and with a naive softmax.

    Args:
        model: "sd15", "sdxl" or "sd35-medium", built here in full size with random weights, or what
            `promptweight.load` takes.
        layers: levels of a UNet with attention, blocks of a transformer, from the first on; all when None.
        size: side of the latents; the model's own when None.
        steps: calls of the model in one run, each for two rows: a negative prompt and a prompt.
        rounds: how often every way is timed, after one round that is not.
        device: as `promptweight.load` takes it.
        dtype: as `promptweight.load` takes it.
        clock: which time is taken; "processor" on a CPU alone.
        progress: told how many runs are done, and of how many, after each.

    Raises:
        SettingError: a value outside its range.
        ModelError: the model is of another kind.
    """
    for name, value in (("layers", layers), ("size", size), ("steps", steps), ("rounds", rounds)):
        if value is not None and value < 1:
            raise SettingError(f"{name} is {value}; it must be 1 or more")
    validation.check_choice("clock", clock, get_args(Clock))
    device = choose_device(device)
    if clock == "processor" and torch.device(device).type != "cpu":
        raise SettingError(f"clock='processor' is for a CPU; what {device} does takes no processor time")
    subject = prepare(build(model, layers, device, dtype), size)
    ways = ways_of(subject)
    times: dict[str, list[float]] = {way: [] for way in ways}
    peaks: dict[str, float | None] = {}
    for number in range(rounds + 1):
        for place, (way, make) in enumerate(ways.items(), number * len(ways) + 1):
            with make(), torch.no_grad():
                seconds, peaks[way] = timed(subject.call, steps, device, clock)
            if number:  # the first round warms up
                times[way].append(seconds)
            if progress is not None:
                progress(place, (rounds + 1) * len(ways))
    return [summary(way, taken, times["plain"], peaks[way]) for way, taken in times.items()]


def summary(way: str, taken: list[float], plain: list[float], peak_mb: float | None) -> Row:
    """The row of one way, from the times of its runs and of the plain ones."""
    ratios = [own / other for own, other in zip(taken, plain, strict=True)]
    return Row(way, median(taken), median(ratios), (min(ratios), max(ratios)), peak_mb)


def ways_of(subject: Subject) -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    """The ways of calling a model, by name; each makes what the calls happen in."""
    pipe, encoded = subject.pipe, subject.encoded
    recorded = attach(pipe, encoded)
    weighted = attach(pipe, encoded, space="attention", record=False)
    both = attach(pipe, encoded, space="attention")
    return {
        "plain": nullcontext,
        "recorded": lambda: recorded,
        "weighted": lambda: weighted,
        "both": lambda: both,
        "naive softmax": lambda: naive(subject),
    }


class Naive(LayerHook):
    """Attention with its whole softmax written out; the mean over the heads of the text's columns is kept."""

    def __init__(self, order: TokenOrder, text: int) -> None:
        super().__init__(order=order)
        self.text = {"cross": slice(None), "image first": slice(-text, None), "text first": slice(text)}[
            order
        ]
        self.kept: Tensor | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The output of attention; arguments as in `LayerHook.attend`."""
        logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        weights = (logits if mask is None else logits + mask).softmax(-1)
        self.kept = weights[-1].mean(0)[:, self.text]
        return weights @ value


@contextmanager
def naive(subject: Subject) -> Iterator[None]:
    """The model's text-reading layers as tools without a fused kernel run them."""
    layers = read_layout(subject.pipe).layers
    text = subject.encoded.inputs["prompt_embeds"].shape[1]
    originals = {name: attn.processor for name, (_, attn) in layers.items()}
    try:
        for name, (layer, attn) in layers.items():
            recorder: LayerHook = Naive(layer.order, text)
            if not is_swappable(originals[name]):
                processor = require_hook(make_processor(originals[name], CallState()), name, originals[name])
                processor.attend = recorder.attend  # type: ignore[method-assign]
                recorder = processor
            install(attn, originals[name], recorder)
        yield
    finally:
        for name, (_, attn) in layers.items():
            uninstall(attn, originals[name])


def timed(
    call: Callable[[], Any], steps: int, device: str, clock: Clock = "wall"
) -> tuple[float, float | None]:
    """Seconds and the peak memory in MiB of a run of so many calls."""
    now = perf_counter if clock == "wall" else process_time
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    counts = kind == "cpu" and forget_peak()
    wait_for(device)
    begin = now()
    for _ in range(steps):
        call()
    wait_for(device)
    seconds = now() - begin
    if kind == "cuda":
        return seconds, torch.cuda.max_memory_allocated(device) / 2**20
    return seconds, process_peak() if counts else None


def wait_for(device: str) -> None:
    """Wait until the device has done all that it was given."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(torch.device(device))


def forget_peak() -> bool:
    """Begin to measure the process's peak memory anew; whether the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def process_peak() -> float | None:
    """The peak resident memory of the process in MiB since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None
