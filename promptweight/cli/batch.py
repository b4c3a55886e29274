"""`promptweight batch`: images from a job file, resumable, on one machine or many."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptweight.cli import console, options
from promptweight.cli.prompt_report import make_visible
from promptweight.errors import SettingError
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.batch import (
        BatchOutcome,
        Executor,
        OutputOptions,
        Plan,
        PlannedImage,
        Problem,
        Shard,
    )
    from promptweight.prompt import Prompt

_MAX_WARNINGS = 20


def batch(
    file: Annotated[
        str,
        typer.Argument(
            help="Job file: .txt (a prompt on each line, with options such as --s 20 --d 1-4 --n 'bad' "
            "--w 512 --h 512 --l 7 after it), .csv, .json or .jsonl; - for stdin. Prompt files of sd-scripts "
            "and AUTOMATIC1111 are read as they are."
        ),
    ],
    output: options.Output = Path("out"),
    model: options.Model = "mini",
    input_format: Annotated[
        str | None,
        typer.Option(help="Format of the job file: txt, csv, json or jsonl; by default that of its suffix."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan with token counts and warnings; draw nothing.")
    ] = False,
    seeds: Annotated[
        str | None, typer.Option(help="Draw every prompt with these seeds, such as 1-8 or 1,5,7.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD=W,…", help="Vary the weight of a word, such as gato=0.5,1,1.5; repeatable."
        ),
    ] = None,
    weightings: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTING,…",
            help="Vary how weights act, such as 'a1111,comfy,attention layers=up_blocks'.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(help="Number of images for each prompt, with consecutive seeds.")
    ] = None,
    negative: Annotated[
        str | None,
        typer.Option(help="Negative prompt of jobs without one; the options below are defaults likewise."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of denoising steps; 25 by default.")] = None,
    guidance: options.Guidance = None,
    width: options.Pixels = None,
    height: options.Pixels = None,
    negative_guidance: options.AnyNegativeGuidance = None,
    weighting: options.AnyWeighting = None,
    clip_skip: options.ClipSkip = None,
    dialect: options.AnyDialect = None,
    scheduler: options.Scheduler = None,
    wildcards: Annotated[
        Path | None, typer.Option(help="Folder of the files that __name__ in a prompt refers to.")
    ] = None,
    styles: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="AUTOMATIC1111's styles.csv, whose styles the jobs may name."),
    ] = None,
    style: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Style of jobs without one; repeatable."),
    ] = None,
    lora_dir: options.LoraDir = None,
    embeddings_dir: options.EmbeddingsDir = None,
    batch_size: Annotated[
        int,
        typer.Option(min=1, help="Number of images with equal settings drawn at once; 1 is bit-exact."),
    ] = 1,
    overlay: options.Overlay = None,
    masks: Annotated[
        bool,
        typer.Option("--masks", help="Also write masks of the overlay words, or of all words."),
    ] = False,
    save_maps: options.SaveMaps = False,
    image_format: Annotated[
        str, typer.Option("--format", help="Format of the images: png, jpeg, webp or avif.")
    ] = "png",
    metadata: options.MetadataParts = options.ALL_METADATA,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Draw finished images again.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Largest number of images drawn by this run.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Draw part I of N; by default that set by accelerate, torchrun or SLURM."
        ),
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Distribute the work over a Ray cluster; needs the extra ray.")
    ] = False,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Address of the Ray cluster; by default RAY_ADDRESS, else this machine."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of Ray workers; by default one for each GPU.")
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    offload: options.Offload = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON for each image.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Generate images from a job file; the same command again continues a stopped run."""
    from promptweight.atomic_files import check_folder
    from promptweight.batch import (
        JOB_FORMATS,
        LocalExecutor,
        OutputOptions,
        RandomSeeds,
        RayExecutor,
        load_on_local_device,
        parse_rows,
    )
    from promptweight.cli import batch_options, batch_preview
    from promptweight.metadata import parse_parts
    from promptweight.models import identify_model
    from promptweight.validation import check_choice

    part = batch_options.choose_shard(shard, uses_ray=ray)
    if not ray and (ray_address is not None or workers is not None):
        raise SettingError(message("cli-ray-options"))
    if weighting is not None and weightings is not None:
        raise SettingError(message("cli-weighting-weightings"))
    if input_format is not None:
        check_choice("--input-format", input_format, JOB_FORMATS)
    if wildcards is not None and not wildcards.is_dir():
        raise SettingError(message("folder-missing", argument="--wildcards", folder=str(wildcards)))
    if not dry_run:
        check_folder(output)
    rows, problems = parse_rows(file, format=input_format)
    _report_problems(problems, quiet=quiet)
    defaults = {
        "count": count, "negative_prompt": negative, "num_inference_steps": steps, "guidance_scale": guidance,
        "width": width, "height": height, "negative_guidance": negative_guidance, "weighting": weighting,
        "clip_skip": clip_skip,
        "dialect": dialect, "scheduler": scheduler, "styles": style,
    }  # fmt: skip
    output_options = OutputOptions(
        batch_options.parse_image_format(image_format),
        parse_parts(metadata),
        tuple(dict.fromkeys(overlay or [])),
        save_maps,
        masks,
    )
    identity = identify_model(model, offline=dry_run)
    check = batch_preview.PromptCheck(identity, output_options, counts_tokens=dry_run or not quiet)
    random_seeds = RandomSeeds(output, is_preview=dry_run)
    preview = batch_preview.PlanPreview(output, output_options, part, overwrite=overwrite)
    with batch_preview.show_planning(quiet=quiet or dry_run) as show_image:

        def on_image(image: PlannedImage, prompt: Prompt) -> None:
            counts = check.add(image, prompt)
            show_image(image)
            if dry_run and (line := preview.describe(image, prompt, counts)) is not None:
                batch_preview.print_planned(line, as_json=as_json)

        plan = batch_options.build_plan(
            rows,
            model=identity,
            defaults=defaults,
            seeds=seeds,
            weights=weights or [],
            weightings=weightings,
            wildcards=wildcards,
            styles=styles,
            random_seeds=random_seeds,
            lora_dir=lora_dir,
            embeddings_dir=embeddings_dir,
            on_image=on_image,
        )
    found = [*plan.problems, *check.finish()]
    _report_problems(found, quiet=quiet and not dry_run, max_shown=None if dry_run else _MAX_WARNINGS)
    if dry_run:
        if random_seeds.is_provisional:
            typer.echo("the run draws other random seeds (-1), which file names contain", err=True)
        prefix = f"{part}: " if part.total > 1 else ""
        typer.echo(
            f"{prefix}{preview.to_draw} of {preview.images} images to draw with {identity.name}", err=True
        )
        return
    executor: Executor
    if ray:
        executor = RayExecutor(ray_address, workers, device, dtype, offload)
    else:
        executor = LocalExecutor(partial(load_on_local_device, plan.model.source, device, dtype, offload))
    outcome = _run(
        plan,
        output,
        executor,
        output_options,
        part,
        as_json=as_json,
        quiet=quiet,
        batch_size=batch_size,
        overwrite=overwrite,
        limit=limit,
    )
    if outcome.is_stopped:
        raise typer.Exit(130)
    if outcome.failed:
        raise typer.Exit(1)


def _run(
    plan: Plan,
    output: Path,
    executor: Executor,
    output_options: OutputOptions,
    shard: Shard,
    *,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> BatchOutcome:
    """Draw the images and report each; `settings` are further arguments of `promptweight.batch.run`."""
    from promptweight.batch import OutputFolder, format_duration, run, save_contact_sheets
    from promptweight.cli import batch_preview
    from promptweight.cli.progress import show_batch_progress

    stdout = sys.stdout

    def on_line(line: dict[str, Any]) -> None:
        if as_json:
            batch_preview.print_json_line(line, stdout)
        elif line["status"] == "failed":
            failed = f"failed: image {line['index']} (line {line['line']}): {line['error']}"
            typer.echo(make_visible(failed), err=True)
        elif line["status"] == "ok":
            names = [line["file"], *line.get("beside", [])]
            console.print_lines((output / name for name in names), stdout)

    # Libraries may print to stdout meanwhile, for example Ray about workers that died; that is not data.
    with (
        redirect_stdout(sys.stderr),
        show_batch_progress(quiet=quiet, is_first_shard=shard.number == 1) as progress,
    ):
        outcome = run(
            plan,
            output,
            executor=executor,
            output_options=output_options,
            shard=shard,
            progress=progress,
            on_line=on_line,
            **settings,
        )
    if plan.sweep and not outcome.is_stopped:
        with OutputFolder(output, format=output_options.format) as folder:
            sheets = list(save_contact_sheets(plan, folder))
        if not as_json:
            console.print_lines(sheets)
    if not quiet:
        prefix = f"{shard}: " if shard.total > 1 else ""
        failed = f", {outcome.failed} failed" if outcome.failed else ""
        left = f", {outcome.left} left" if outcome.left else ""
        typer.echo(
            f"{prefix}{outcome.ok} drawn, {outcome.skipped} already finished{failed}{left}, "
            f"{format_duration(outcome.seconds)}",
            err=True,
        )
    return outcome


def _report_problems(problems: Sequence[Problem], *, quiet: bool, max_shown: int | None = None) -> None:
    """Print problems on stderr, one on each line; errors end the program with exit code 2."""
    warnings = [] if quiet else [problem for problem in problems if problem.is_warning]
    for problem in [*warnings[:max_shown], *(each for each in problems if not each.is_warning)]:
        typer.echo(make_visible(str(problem)), err=True)
    if max_shown is not None and len(warnings) > max_shown:
        typer.echo(f"and {len(warnings) - max_shown} more warnings; --dry-run shows all", err=True)
    if not all(problem.is_warning for problem in problems):
        raise typer.Exit(2)
