"""`promptweight generate`: pictures, overlays and maps from one prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptweight.cli import again, show
from promptweight.prompt import parse

Pixels = Annotated[int | None, typer.Option(help="In pixels; by default the model's own size.")]


def generate(
    context: typer.Context,
    prompt: Annotated[
        str | None, typer.Argument(help="The prompt, such as 'um (gato:1.4) vermelho'; - reads stdin.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("out"),
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Built-in name, folder, .safetensors, or hub id (owner/name@revision)."
        ),
    ] = "mini",
    negative: Annotated[str, typer.Option(help="What should not be in the picture.")] = "",
    method: Annotated[
        str | None, typer.Option(help="How weights act on embeddings; see `promptweight methods`.")
    ] = None,
    normalizer: Annotated[
        str | None,
        typer.Option(help="Even weights out first: none, mean, mean-div, length, length+mean."),
    ] = None,
    space: Annotated[str, typer.Option(help="Where weights act: embedding or attention.")] = "embedding",
    mode: Annotated[
        str,
        typer.Option(
            help="How weights act in attention: logit, p2p, value; or clip, in that of CLIP text encoders."
        ),
    ] = "logit",
    clip_skip: Annotated[
        int | None, typer.Option(help="How many of CLIP's last layers to leave out; 0 leaves out none.")
    ] = None,
    pooled: Annotated[
        str, typer.Option(help="The pooled text vector: clean, or weighted like the words.")
    ] = "clean",
    dialect: Annotated[str, typer.Option(help="How the prompt is read.")] = "pw",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 25,
    guidance: Annotated[float | None, typer.Option(help="By default the model's own.")] = None,
    seed: Annotated[int | None, typer.Option(help="By default a new one, which is shown.")] = None,
    n: Annotated[int, typer.Option("-n", "--n", help="How many pictures, from seed, seed + 1, …")] = 1,
    width: Pixels = None,
    height: Pixels = None,
    overlay: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="Also show where this word or phrase went; may be repeated."),
    ] = None,
    overlay_all: Annotated[bool, typer.Option("--overlay-all", help="One sheet with every word.")] = False,
    maps: Annotated[bool, typer.Option("--maps", help="Also write the raw maps.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, xpu.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16, bfloat16.")] = "auto",
    lora_dir: Annotated[
        Path | None, typer.Option(help="Folder of the LoRAs that <lora:name:weight> names.")
    ] = None,
    embeddings_dir: Annotated[
        Path | None, typer.Option(help="Folder of the textual inversions that the prompts name.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Such as 'DPM++ 2M Karras' or a class of diffusers; else the model's.")
    ] = None,
    offload: Annotated[
        str | None, typer.Option(help="model: keep parts in main memory until their turn on the GPU.")
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Make this picture again; options given change it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the files only.")] = False,
) -> None:
    """Make pictures and show where each word went."""
    if from_file is not None:
        generate(context, **again.options(context, from_file))
        return
    if prompt is None:
        raise typer.BadParameter("give one, or a picture with --from", param_hint="PROMPT")
    prompt = show.read_argument(prompt)
    if not quiet:
        show.understood(parse(prompt, dialect), stderr=True)
    from promptweight.generate import generate as make
    from promptweight.models import load

    phrases = overlay or []
    with show.steps(quiet=quiet) as progress:
        result = make(
            prompt,
            load(model, device=device, dtype=dtype, scheduler=scheduler, offload=offload),
            negative_prompt=negative,
            method=method,
            normalizer=normalizer,
            space=space,  # type: ignore[arg-type]
            mode=mode,  # type: ignore[arg-type]
            clip_skip=clip_skip,
            pooled=pooled,  # type: ignore[arg-type]
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
        )
    files = result.save(output, overlays=phrases, sheet=overlay_all, maps=maps)
    show.warnings(result.warnings)
    if as_json:
        show.as_json({"files": files, **result.to_dict()})
    else:
        show.lines(files)
    if len(result.images) < n or result.stopped_after is not None:
        raise typer.Exit(130)
