"""`promptweight bench`: time and memory of recording and weighting on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from promptweight.cli import console, options
from promptweight.errors import SettingError
from promptweight.messages import message

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
    peers: Annotated[
        bool,
        typer.Option(
            "--peers", help="Also time encoding and parsing, and all three in other tools that are installed."
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Time a model without changes, with recording, with weights, with both, and with a naive softmax.

    Seconds are medians. Ratios are medians over the rounds of the time relative to the unchanged run of the
    round, and with --peers to the first tool.
    """
    if peers:
        if timer != "wall":
            raise SettingError(message("bench-peers-timer", timer=timer))
        numbers = {"layers": layers, "size": size, "steps": steps, "rounds": rounds}
        _print_peers(model, numbers, {"device": device, "dtype": dtype}, as_json=as_json)
        return
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


def _print_peers(model: str, numbers: dict[str, int | None], names: dict[str, str], *, as_json: bool) -> None:
    """Measure and print the times beside other tools, with their versions."""
    from promptweight.benchmarks.peers import benchmark_peers, find_versions

    screen = console.make_console()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("works", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        settings: dict[str, Any] = {**numbers, **names}
        timings = benchmark_peers(model, **settings, progress=show)
    versions = find_versions()
    if as_json:
        works = [*map(asdict, timings)]
        console.print_json({"model": model, **numbers, **names, "versions": versions, "works": works})
        return
    table = Table()
    for title in ("work", "tool"):
        table.add_column(title)
    for title in ("seconds", "× first", "from … to"):
        table.add_column(title, justify="right")
    before = ""
    for timing in timings:
        low, high = timing.ratio_range
        work, before = timing.work if timing.work != before else "", timing.work
        ratios = f"{timing.ratio:.3g}", f"{low:.3g} … {high:.3g}"
        table.add_row(work, timing.tool, f"{timing.seconds:.4g}", *ratios)
    out = console.make_console(stderr=False)
    out.print(table)
    out.print(", ".join(f"{tool} {version or 'absent'}" for tool, version in versions.items()))


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
