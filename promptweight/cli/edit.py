"""`promptweight edit`: an image, and the same one with its prompt edited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptweight.cli import console, options
from promptweight.prompt import parse


def edit(
    source: Annotated[str, typer.Argument(help="Prompt of the source image, such as 'um gato vermelho'.")],
    edited: Annotated[str, typer.Argument(help="Edited prompt, such as 'um gato azul'.")],
    output: options.Output = Path("out"),
    model: options.Model = "mini",
    kind: Annotated[
        str, typer.Option(help="replace: words are swapped; refine: words are added or removed.")
    ] = "replace",
    cross: Annotated[
        float,
        typer.Option(help="First fraction of the steps with the source's cross-attention of the words."),
    ] = 0.8,
    self_attention: Annotated[
        float,
        typer.Option(
            "--self",
            help="First fraction of the steps with the source's self-attention, which keeps the layout.",
        ),
    ] = 0.4,
    negative: Annotated[str, typer.Option(help="Negative prompt of both images.")] = "",
    method: options.Method = None,
    space: options.Space = "embedding",
    mode: options.Mode = "logit",
    dialect: options.Dialect = "pw",
    steps: options.Steps = 25,
    guidance: options.Guidance = None,
    seed: options.Seed = None,
    width: options.Pixels = None,
    height: options.Pixels = None,
    metadata: options.MetadataParts = options.ALL_METADATA,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    scheduler: options.Scheduler = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Generate an image and an edited one in its layout (prompt-to-prompt).

    Writes the source image, the edited image, and a sheet of both.
    """
    source_prompt, edited_prompt = (parse(text, dialect).at() for text in (source, edited))
    if not quiet:
        for prompt in (source_prompt, edited_prompt):
            console.print_prompt(prompt, stderr=True)
    from promptweight.atomic_files import check_folder
    from promptweight.cli.progress import show_progress
    from promptweight.generation import edit as edit_image
    from promptweight.metadata import parse_parts
    from promptweight.models import load

    parts = parse_parts(metadata)
    check_folder(output)  # before the images are drawn
    with show_progress(quiet=quiet) as progress:
        result = edit_image(
            source_prompt,
            edited_prompt,
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
    files = result.save(output, metadata=parts)
    console.print_warnings(result.warnings)
    if as_json:
        summaries = {"source": result.source.to_dict(), "edited": result.edited.to_dict()}
        console.print_json({"files": files, **summaries})
    else:
        console.print_lines(files)
    if result.edited.stopped_after is not None or not result.edited.images:
        raise typer.Exit(130)
