"""`promptweight edit`: a picture, and the same one with its prompt edited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptweight.cli import show
from promptweight.prompt import parse

Pixels = Annotated[int | None, typer.Option(help="In pixels; by default the model's own size.")]


def edit(
    source: Annotated[str, typer.Argument(help="The prompt of the picture, such as 'um gato vermelho'.")],
    edited: Annotated[str, typer.Argument(help="The edited prompt, such as 'um gato azul'.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("out"),
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Built-in name, folder, .safetensors, or hub id (owner/name@revision)."
        ),
    ] = "mini",
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
    method: Annotated[
        str | None, typer.Option(help="How weights act on embeddings; see `promptweight methods`.")
    ] = None,
    space: Annotated[str, typer.Option(help="Where weights act: embedding or attention.")] = "embedding",
    mode: Annotated[
        str, typer.Option(help="How weights act in attention: logit, p2p, value or clip.")
    ] = "logit",
    dialect: Annotated[str, typer.Option(help="How the prompts are read.")] = "pw",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 25,
    guidance: Annotated[float | None, typer.Option(help="By default the model's own.")] = None,
    seed: Annotated[int | None, typer.Option(help="By default a new one, which is shown.")] = None,
    width: Pixels = None,
    height: Pixels = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, xpu.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16, bfloat16.")] = "auto",
    scheduler: Annotated[
        str | None, typer.Option(help="Such as 'DPM++ 2M Karras' or a class of diffusers; else the model's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the files only.")] = False,
) -> None:
    """Make a picture, and an edited one in its layout (prompt-to-prompt).

    Writes the source, the edited picture, and a sheet of both.
    """
    if not quiet:
        for prompt in (source, edited):
            show.understood(parse(prompt, dialect), stderr=True)
    from promptweight.edit import edit as make
    from promptweight.models import load

    with show.steps(quiet=quiet) as progress:
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
    files = made.save(output)
    show.warnings(made.warnings)
    if as_json:
        show.as_json({"files": files, "source": made.source.to_dict(), "edited": made.edited.to_dict()})
    else:
        show.lines(files)
    if made.edited.stopped_after is not None or not made.edited.images:
        raise typer.Exit(130)
