"""`promptweight bench`: time and memory of recording and weighting on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from promptweight.cli import console, options

if TYPE_CHECKING:
    from promptweight.benchmarks.attention import Timing


def bench(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="sd15, sdxl, sd35-medium, flux, flux2-klein or z-image (full size, random weights, no "
            "download), or a built-in name, folder, .safetensors file or hub id.",
        ),
    ] = "sd15",
    layers: Annotated[
        int | None,
        typer.Option(help="Number of first levels of a UNet, or blocks of a transformer; by default all."),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Side of the latents; by default the model's own.")] = None,
    steps: Annotated[int, typer.Option(help="Number of steps of a timed run.")] = 1,
    rounds: Annotated[
        int, typer.Option("--rounds", "--repeats", help="Number of timed runs of each case.")
    ] = 5,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    timer: Annotated[
        str,
        typer.Option(help="wall, or processor (CPU time of all threads) for a machine that is in use."),
    ] = "wall",
    as_json: options.AsJson = False,
) -> None:
    """Time a model without changes, with recording, with weights, with both, and with a naive softmax.

    Seconds are medians. Ratios are medians over the rounds of the time relative to the unchanged run of the
    round.
    """
    from promptweight.benchmarks.attention import benchmark_attention

    screen = console.make_console()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("runs", total=None)
        timings = benchmark_attention(
            model,
            layers=layers,
            size=size,
            steps=steps,
            rounds=rounds,
            device=device,
            dtype=dtype,
            timer=timer,  # type: ignore[arg-type]  # checked by benchmark_attention
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        numbers = {"layers": layers, "size": size, "steps": steps, "rounds": rounds}
        names = {"device": device, "dtype": dtype, "timer": timer}
        console.print_json({"model": model, **numbers, **names, "cases": [*map(asdict, timings)]})
        return
    console.make_console(stderr=False).print(make_table(timings))


def make_table(timings: list[Timing]) -> Table:
    """Return a table of the timings."""
    table = Table()
    table.add_column("case")
    for title in ("seconds", "× plain", "from … to", "peak MiB"):
        table.add_column(title, justify="right")
    for timing in timings:
        low, high = timing.ratio_range
        peak = "unknown" if timing.peak_mb is None else f"{timing.peak_mb:.0f}"
        seconds, ratio = f"{timing.seconds:.4g}", f"{timing.ratio:.3f}"
        table.add_row(timing.case, seconds, ratio, f"{low:.3f} … {high:.3f}", peak)
    return table
