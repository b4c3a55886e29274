"""`promptweight generate`: pictures, overlays and maps from one prompt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptweight.cli import console, options, rerun
from promptweight.prompt import parse

if TYPE_CHECKING:
    from promptweight.generation import Result


def generate(
    context: typer.Context,
    prompt: Annotated[
        str | None,
        typer.Argument(
            help="The prompt, such as 'um (gato:1.4) vermelho'; - reads stdin, -- goes before one that "
            "begins with a dash."
        ),
    ] = None,
    output: options.Output = Path("out"),
    model: options.Model = "mini",
    negative: Annotated[str, typer.Option(help="What should not be in the picture.")] = "",
    method: options.Method = None,
    normalizer: options.Normalizer = None,
    space: options.Space = "embedding",
    mode: options.Mode = "logit",
    clip_skip: options.ClipSkip = None,
    pooled: options.Pooled = "clean",
    balance: options.Balance = False,
    dialect: options.Dialect = "pw",
    steps: options.Steps = 25,
    guidance: options.Guidance = None,
    seed: options.Seed = None,
    n: Annotated[int, typer.Option("-n", "--n", help="How many pictures, from seed, seed + 1, …")] = 1,
    width: options.Pixels = None,
    height: options.Pixels = None,
    overlay: options.Overlay = None,
    overlay_all: Annotated[bool, typer.Option("--overlay-all", help="One sheet with every word.")] = False,
    maps: options.Maps = False,
    metadata: options.MetadataParts = options.EVERYTHING,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lora_dir: options.LoraDir = None,
    embeddings_dir: options.EmbeddingsDir = None,
    scheduler: options.Scheduler = None,
    offload: options.Offload = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Make this picture again; options given change it."),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Make pictures and show where each word went."""
    if from_file is not None:
        generate(context, **rerun.rerun_options(context, from_file))
        return
    if prompt is None:
        raise typer.BadParameter("give one, or a picture with --from", param_hint="PROMPT")
    prompt = console.read_argument(prompt)
    if not quiet:
        console.print_prompt(parse(prompt, dialect), stderr=True)
    from promptweight.atomic_files import check_folder
    from promptweight.generation import check_arguments
    from promptweight.generation import generate as make
    from promptweight.metadata import parse_parts
    from promptweight.models import load

    phrases, parts = overlay or [], parse_parts(metadata)
    weighting: Any = {
        "method": method,
        "normalizer": normalizer,
        "space": space,
        "mode": mode,
        "clip_skip": clip_skip,
        "pooled": pooled,
    }
    # A mistake should be told before minutes are spent on loading a model, or on pictures without a place.
    check_arguments(
        prompt,
        negative,
        dialect=dialect,
        seed=seed,
        pictures=n,
        num_inference_steps=steps,
        guidance_scale=guidance,
        **weighting,
    )
    check_folder(output)
    files: list[Path] = []
    told: dict[str, Any] = {}

    def save(picture: Result) -> None:
        files.extend(picture.save(output, overlays=phrases, sheet=overlay_all, maps=maps, metadata=parts))

    try:
        with console.show_progress(quiet=quiet) as progress:
            result = make(
                prompt,
                load(model, device=device, dtype=dtype, scheduler=scheduler, offload=offload),
                negative_prompt=negative,
                **weighting,
                balance=balance,
                dialect=dialect,
                num_inference_steps=steps,
                guidance_scale=guidance,
                seed=seed,
                num_images_per_prompt=n,
                height=height,
                width=width,
                lora_dir=lora_dir,
                embeddings_dir=embeddings_dir,
                require_words=phrases,
                callback=progress,
                on_picture=save,
            )
        told = result.to_dict()
    finally:  # files written before an error are told, too
        if not as_json:
            console.print_lines(files)
        elif files or told:
            console.print_json({"files": files, **told})
    console.print_warnings(result.warnings)
    if len(result.images) < n or result.stopped_after is not None:
        raise typer.Exit(130)
