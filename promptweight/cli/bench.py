"""`promptweight bench`: what recording and weighting cost on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from promptweight.cli import console, options

if TYPE_CHECKING:
    from promptweight.benchmarks.attention import Row


def bench(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="sd15, sdxl or sd35-medium: in full size, with random weights, nothing is downloaded. "
            "Or a model of yours: built-in name, folder, .safetensors or hub id.",
        ),
    ] = "sd15",
    layers: Annotated[
        int | None, typer.Option(help="Only the first levels of a UNet, or blocks of SD3: quicker.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Side of the latents; by default the model's own.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of the run that is timed.")] = 1,
    rounds: Annotated[int, typer.Option("--rounds", "--repeats", help="How often each way is timed.")] = 5,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    clock: Annotated[
        str, typer.Option(help="wall; or processor, the time of all threads: for a CPU that others use too.")
    ] = "wall",
    as_json: options.AsJson = False,
) -> None:
    """Time a model plain, recorded, weighted, both, and with a naive softmax, turn by turn.

    Seconds are medians; ratios are medians over the rounds of the time to the plain run's in the same round.
    """
    from promptweight.benchmarks.attention import bench as measure

    screen = console.make_console()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("runs", total=None)
        rows = measure(
            model,
            layers=layers,
            size=size,
            steps=steps,
            rounds=rounds,
            device=device,
            dtype=dtype,
            clock=clock,  # type: ignore[arg-type]  # a choice, which bench checks
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        numbers = {"layers": layers, "size": size, "steps": steps, "rounds": rounds}
        names = {"device": device, "dtype": dtype, "clock": clock}
        console.print_json({"model": model, **numbers, **names, "ways": [*map(asdict, rows)]})
        return
    console.make_console(stderr=False).print(make_table(rows))


def make_table(rows: list[Row]) -> Table:
    """The figures for people."""
    made = Table()
    made.add_column("way")
    for title in ("seconds", "× plain", "from … to", "peak MiB"):
        made.add_column(title, justify="right")
    for row in rows:
        low, high = row.ratios
        peak = "unknown" if row.peak_mb is None else f"{row.peak_mb:.0f}"
        made.add_row(row.way, f"{row.seconds:.4g}", f"{row.ratio:.3f}", f"{low:.3f} … {high:.3f}", peak)
    return made
