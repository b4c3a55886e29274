"""`promptweight batch`: images from a job file, resumable, on one machine or many."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from promptweight.cli import console, options
from promptweight.errors import SettingError

if TYPE_CHECKING:
    from promptweight.batch import BatchOutcome, Executor, OutputOptions, Plan, Problem, Shard
    from promptweight.cli.batch_preview import TokenCounts

_MAX_WARNINGS = 20


def batch(
    file: Annotated[
        str,
        typer.Argument(
            help="Job file: .txt (a prompt on each line, with options such as --s 20 --d 1-4 --n 'bad' "
            "--w 512 --h 512 --l 7 after it), .csv or .jsonl; - for stdin."
        ),
    ],
    output: options.Output = Path("out"),
    model: options.Model = "mini",
    input_format: Annotated[
        str | None,
        typer.Option(help="Format of the job file: txt, csv or jsonl; by default that of its suffix."),
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
    methods: Annotated[
        str | None,
        typer.Option(help="Vary the weighting: methods and attention modes, such as a1111,comfy,logit."),
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
    method: options.Method = None,
    normalizer: options.Normalizer = None,
    space: options.AnySpace = None,
    mode: options.AnyMode = None,
    clip_skip: options.ClipSkip = None,
    pooled: options.AnyPooled = None,
    balance: options.Balance = False,
    dialect: options.AnyDialect = None,
    scheduler: options.Scheduler = None,
    wildcards: Annotated[
        Path | None, typer.Option(help="Folder of the files that __name__ in a prompt refers to.")
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
    from promptweight.batch import LocalExecutor, OutputOptions, RayExecutor, load_on_local_device, parse_rows
    from promptweight.cli import batch_options, batch_preview
    from promptweight.metadata import parse_parts

    part = batch_options.choose_shard(shard, uses_ray=ray)
    if not ray and (ray_address is not None or workers is not None):
        raise SettingError("--ray-address and --workers need a Ray cluster; add --ray")
    if method is not None and methods is not None:
        raise SettingError("--method and --methods cannot be combined; give one of them")
    rows, problems = parse_rows(file, format=input_format)
    _report_problems(problems, quiet=quiet)
    defaults = {
        "count": count, "negative_prompt": negative, "num_inference_steps": steps, "guidance_scale": guidance,
        "width": width, "height": height, "method": method, "normalizer": normalizer, "space": space,
        "mode": mode, "clip_skip": clip_skip, "pooled": pooled, "dialect": dialect, "scheduler": scheduler,
        "balance": balance or None,
    }  # fmt: skip
    output_options = OutputOptions(
        batch_options.parse_image_format(image_format),
        parse_parts(metadata),
        tuple(dict.fromkeys(overlay or [])),
        save_maps,
        masks,
    )
    plan = batch_options.build_plan(
        rows,
        model=model,
        defaults=defaults,
        seeds=seeds,
        weights=weights or [],
        methods=methods,
        wildcards=wildcards,
        lora_dir=lora_dir,
        embeddings_dir=embeddings_dir,
        offline=dry_run,
    )
    _report_problems(plan.problems, quiet=quiet)
    warnings, counts = batch_preview.collect_warnings(plan, output_options, wanted=not quiet or dry_run)
    _report_problems(warnings, quiet=quiet and not dry_run, max_shown=None if dry_run else _MAX_WARNINGS)
    if dry_run:
        _print_plan(plan, output, output_options, part, counts, overwrite=overwrite, as_json=as_json)
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
    from promptweight.cli.progress import show_batch_progress

    stdout = sys.stdout

    def on_line(line: dict[str, Any]) -> None:
        if as_json:
            _print_json_line(line, stdout)
        elif line["status"] == "failed":
            typer.echo(f"failed: image {line['index']} (line {line['line']}): {line['error']}", err=True)
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


def _print_json_line(line: dict[str, Any], file: TextIO) -> None:
    """Print a dictionary as one line of JSON and flush it for programs that read along."""
    typer.echo(json.dumps(line, ensure_ascii=not console.is_utf8_stream(file)), file=file)
    file.flush()


def _report_problems(problems: Sequence[Problem], *, quiet: bool, max_shown: int | None = None) -> None:
    """Print problems on stderr, one on each line; errors end the program with exit code 2."""
    shown = [problem for problem in problems if not (problem.is_warning and quiet)]
    for problem in shown[:max_shown]:
        typer.echo(str(problem), err=True)
    if max_shown is not None and len(shown) > max_shown:
        typer.echo(f"and {len(shown) - max_shown} more warnings; --dry-run shows all", err=True)
    if not all(problem.is_warning for problem in problems):
        raise typer.Exit(2)


def _print_plan(
    plan: Plan,
    output: Path,
    output_options: OutputOptions,
    shard: Shard,
    counts: TokenCounts,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    from promptweight.cli.batch_preview import preview_plan
    from promptweight.cli.prompt_report import make_visible

    lines = preview_plan(plan, output, output_options, shard, counts, overwrite=overwrite)
    if as_json:
        for line in lines:
            _print_json_line(line, sys.stdout)
        return
    for line in lines:
        sides = line["width"], line["height"]
        size = "x".join(str(side or "default") for side in sides) if any(sides) else "default size"
        tokens = "+".join(str(count["tokens"]) for count in line["tokens"]) or "?"
        sweep = f"  [{' · '.join(line['sweep'])}]" if line["sweep"] else ""
        text = (
            f"{line['status']:<8}  {line['file']}  {size:>12}  {line['num_inference_steps']:>3} steps  "
            f"{tokens:>3} tokens  {make_visible(line['prompt'])}{sweep}"
        )
        console.print_lines([text])
    prefix = f"{shard}: " if shard.total > 1 else ""
    to_draw = sum(line["status"] == "to draw" for line in lines)
    typer.echo(f"{prefix}{to_draw} of {len(lines)} images to draw with {plan.model.name}", err=True)
