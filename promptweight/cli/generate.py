"""`promptweight generate`: images, overlays and attention maps from one prompt."""

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
            help="Prompt, such as 'um (gato:1.4) vermelho'; - for stdin; -- precedes one that begins with a "
            "dash."
        ),
    ] = None,
    output: options.Output = Path("out"),
    model: options.Model = "mini",
    negative: Annotated[str, typer.Option(help="Negative prompt.")] = "",
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
    n: Annotated[int, typer.Option("-n", "--n", help="Number of images, with consecutive seeds.")] = 1,
    width: options.Pixels = None,
    height: options.Pixels = None,
    overlay: options.Overlay = None,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Also save a sheet with the heat maps of all words.")
    ] = False,
    save_maps: options.SaveMaps = False,
    metadata: options.MetadataParts = options.ALL_METADATA,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    lora_dir: options.LoraDir = None,
    embeddings_dir: options.EmbeddingsDir = None,
    scheduler: options.Scheduler = None,
    offload: options.Offload = None,
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Image file whose settings are used; other options replace them."
        ),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Generate images and attention maps from a prompt."""
    if from_file is not None:
        generate(context, **rerun.rerun_options(context, from_file))
        return
    if prompt is None:
        raise typer.BadParameter("give a prompt, or an image file with --from", param_hint="PROMPT")
    parsed = parse(console.read_argument(prompt), dialect).at()
    parsed_negative = parse(negative, dialect).at()
    if not quiet:
        console.print_prompt(parsed, stderr=True)
    from promptweight.atomic_files import check_folder
    from promptweight.cli.progress import show_progress
    from promptweight.generation import check_arguments
    from promptweight.generation import generate as generate_images
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
    # Report errors before the model is loaded, which may take minutes.
    check_arguments(
        parsed,
        parsed_negative,
        dialect=dialect,
        seed=seed,
        num_images=n,
        num_inference_steps=steps,
        guidance_scale=guidance,
        **weighting,
    )
    check_folder(output)
    files: list[Path] = []
    summary: dict[str, Any] = {}

    def save(image: Result) -> None:
        files.extend(
            image.save(output, overlays=phrases, contact_sheet=contact_sheet, maps=save_maps, metadata=parts)
        )

    try:
        with show_progress(quiet=quiet) as progress:
            result = generate_images(
                parsed,
                load(model, device=device, dtype=dtype, scheduler=scheduler, offload=offload),
                negative_prompt=parsed_negative,
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
                on_image=save,
            )
        summary = result.to_dict()
    finally:  # also list the files written before an error
        if not as_json:
            console.print_lines(files)
        elif files or summary:
            console.print_json({"files": files, **summary})
    console.print_warnings(result.warnings)
    if len(result.images) < n or result.stopped_after is not None:
        raise typer.Exit(130)
