"""`promptweight calibrate`: the weighting that makes weights a dial on a model."""

from __future__ import annotations

from typing import Annotated

import typer

from promptweight.cli import console, options
from promptweight.errors import SettingError
from promptweight.messages import message

PROMPT_OPTIONS = ("seeds", "guidance", "dialect", "width", "height")
"""Options of the images of prompts, without effect on those of pairs of objects."""


def calibrate(
    context: typer.Context,
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Prompts with one weighted phrase each, such as 'a (cat:1) and a mouse'. Without prompts, "
            "objects are counted in images of a built-in model."
        ),
    ] = None,
    model: options.Model = "mini",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Number of images of each prompt.")] = 4,
    number: Annotated[
        int, typer.Option(min=1, max=10_000, help="Number of pairs of objects, without prompts.")
    ] = 40,
    evaluations: Annotated[
        int, typer.Option(min=3, max=100, help="Number of weights that are tried between 0 and 1.")
    ] = 9,
    steps: options.Steps = 25,
    guidance: options.Guidance = None,
    dialect: options.Dialect = "pw",
    width: options.Pixels = None,
    height: options.Pixels = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    scheduler: options.Scheduler = None,
    offload: options.Offload = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Calibrate the weights from 0 to 2 for a model: print the --weighting that makes them a dial."""
    _check_given(options.given_options(context), has_prompts=bool(prompts))
    from promptweight.generation import GenerateOptions
    from promptweight.generation import calibrate as measure
    from promptweight.models import load

    checked = GenerateOptions(
        num_inference_steps=steps, guidance_scale=guidance, dialect=dialect, width=width, height=height
    )
    terminal = console.make_console(stderr=True)

    def report(interpolation: float, effect: float) -> None:
        if not quiet:
            terminal.print(f"interpolation {interpolation:.3f}: {effect:.0%} of the effect")

    pipe = load(model, device=device, dtype=dtype, scheduler=scheduler, offload=offload)
    if prompts:
        result = measure(
            pipe, prompts, seeds=range(seeds), evaluations=evaluations, options=checked, progress=report
        )
    else:
        from promptweight.evaluation import calibrate_objects

        result = calibrate_objects(pipe, number=number, steps=steps, evaluations=evaluations, progress=report)
    low, high = result.usable_range
    if as_json:
        effects = [list(point) for point in result.effects]
        console.print_json(
            {"weighting": str(result.weighting), "effects": effects, "usable_range": [low, high]}
        )
        return
    if not quiet:
        terminal.print(
            f"{result.images} images: the effect grows from 5 to 95 % between the interpolations {low:.2f} "
            f"and {high:.2f}"
        )
    console.print_lines([str(result.weighting)])


def _check_given(given: set[str], *, has_prompts: bool) -> None:
    """Check that the command line sets no option that has no effect with, or without, prompts.

    Raises:
        SettingError: it does.
    """
    if has_prompts and "number" in given:
        raise SettingError(message("cli-calibrate-number"))
    unused = [f"--{name}" for name in PROMPT_OPTIONS if name in given]
    if unused and not has_prompts:
        raise SettingError(message("cli-calibrate-prompts", options=", ".join(unused)))
