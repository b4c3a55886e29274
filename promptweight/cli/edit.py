"""`promptweight edit`: a picture, and the same one with its prompt edited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptweight.cli import console, options
from promptweight.prompt import parse


def edit(
    source: Annotated[str, typer.Argument(help="The prompt of the picture, such as 'um gato vermelho'.")],
    edited: Annotated[str, typer.Argument(help="The edited prompt, such as 'um gato azul'.")],
    output: options.Output = Path("out"),
    model: options.Model = "mini",
    kind: Annotated[
        str, typer.Option(help="replace: words are swapped; refine: words are added or left out.")
    ] = "replace",
    cross: Annotated[
        float, typer.Option(help="First share of the steps in which words attend as in the source.")
    ] = 0.8,
    self_attention: Annotated[
        float,
        typer.Option(
            "--self", help="First share in which the picture attends to itself as the source; keeps layout."
        ),
    ] = 0.4,
    negative: Annotated[str, typer.Option(help="What should not be in the pictures.")] = "",
    method: options.Method = None,
    space: options.Space = "embedding",
    mode: options.Mode = "logit",
    dialect: options.Dialect = "pw",
    steps: options.Steps = 25,
    guidance: options.Guidance = None,
    seed: options.Seed = None,
    width: options.Pixels = None,
    height: options.Pixels = None,
    metadata: options.MetadataParts = options.EVERYTHING,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    scheduler: options.Scheduler = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a picture, and an edited one in its layout (prompt-to-prompt).

    Writes the source, the edited picture, and a sheet of both.
    """
    if not quiet:
        for prompt in (source, edited):
            console.print_prompt(parse(prompt, dialect), stderr=True)
    from promptweight.atomic_files import check_folder
    from promptweight.generation import edit as make
    from promptweight.metadata import parse_parts
    from promptweight.models import load

    parts = parse_parts(metadata)
    check_folder(output)  # before a picture is made that has no place
    with console.show_progress(quiet=quiet) as progress:
        made = make(
            source,
            edited,
            load(model, device=device, dtype=dtype, scheduler=scheduler),
            kind=kind,  # type: ignore[arg-type]
            cross_replace_steps=cross,
            self_replace_steps=self_attention,
            negative_prompt=negative,
            method=method,
            space=space,  # type: ignore[arg-type]
            mode=mode,  # type: ignore[arg-type]
            dialect=dialect,
            num_inference_steps=steps,
            guidance_scale=guidance,
            seed=seed,
            height=height,
            width=width,
            record=False,
            callback=progress,
        )
    files = made.save(output, metadata=parts)
    console.print_warnings(made.warnings)
    if as_json:
        console.print_json({"files": files, "source": made.source.to_dict(), "edited": made.edited.to_dict()})
    else:
        console.print_lines(files)
    if made.edited.stopped_after is not None or not made.edited.images:
        raise typer.Exit(130)
