"""`promptweight batch`: pictures from a job file, resumable, on one machine or many."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from promptweight.cli import console, options
from promptweight.errors import SettingError

if TYPE_CHECKING:
    from promptweight.batch import OutputOptions, Plan, Problem, Shard
    from promptweight.cli.batch_plan import Counts

_MOST_WARNINGS = 20


def batch(
    file: Annotated[
        str,
        typer.Argument(
            help="Job file: .txt (a prompt a line, --s 20 --d 1-4 --n 'bad' --w 512 --h 512 --l 7 behind "
            "it), .csv, .jsonl; - reads stdin."
        ),
    ],
    output: options.Output = Path("out"),
    model: options.Model = "mini",
    input_format: Annotated[
        str | None, typer.Option(help="txt, csv or jsonl; by default the file's ending tells.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be made, with tokens and warnings.")
    ] = False,
    seeds: Annotated[
        str | None, typer.Option(help="Make every prompt with these seeds, such as 1-8 or 1,5,7.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD=W,…", help="Vary a word's weight, as in gato=0.5,1,1.5; repeatable."),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Vary how weights act, as in a1111,comfy,logit.")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Pictures of each prompt, seed by seed.")] = None,
    negative: Annotated[str | None, typer.Option(help="Where a line has none, as all below.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; 25 by default.")] = None,
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
    wildcards: Annotated[Path | None, typer.Option(help="Folder of the files that __name__ names.")] = None,
    lora_dir: options.LoraDir = None,
    embeddings_dir: options.EmbeddingsDir = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures of equal settings drawn at once; 1 is exact to the bit.")
    ] = 1,
    overlay: options.Overlay = None,
    masks: Annotated[
        bool, typer.Option("--masks", help="Also write masks, of the overlays' words or of all.")
    ] = False,
    maps: options.Maps = False,
    picture_format: Annotated[
        str, typer.Option("--format", help="Of the pictures: png, jpeg, webp or avif.")
    ] = "png",
    metadata: options.MetadataParts = options.EVERYTHING,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make finished pictures again.")] = False,
    limit: Annotated[int | None, typer.Option(min=0, help="Make at most so many pictures now.")] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Make part I of N; by default as accelerate, torchrun or SLURM say."
        ),
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Share the work through a Ray cluster; needs the extra ray.")
    ] = False,
    ray_address: Annotated[
        str | None, typer.Option(help="Of the cluster; by default RAY_ADDRESS, else one on this machine.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Ray workers; by default one a GPU.")] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    offload: options.Offload = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each picture.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Make pictures from a job file; the same command again continues where it stopped."""
    from promptweight.batch import OutputOptions, job_files, load_on_local_device
    from promptweight.cli import batch_plan
    from promptweight.metadata import parse_parts

    part = batch_plan.shard_of(shard, is_shared=ray)
    if not ray and (ray_address is not None or workers is not None):
        raise SettingError("--ray-address and --workers are of a Ray cluster; give --ray, too")
    if method is not None and methods is not None:
        raise SettingError("--method is for every picture and --methods varies it; give one of them")
    rows, problems = job_files.read_rows(file, format=input_format)
    _tell(problems, quiet=quiet)
    asked = {
        "count": count, "negative_prompt": negative, "num_inference_steps": steps, "guidance_scale": guidance,
        "width": width, "height": height, "method": method, "normalizer": normalizer, "space": space,
        "mode": mode, "clip_skip": clip_skip, "pooled": pooled, "dialect": dialect, "scheduler": scheduler,
        "balance": balance or None,
    }  # fmt: skip
    saving = OutputOptions(
        batch_plan.picture_format(picture_format),
        parse_parts(metadata),
        tuple(dict.fromkeys(overlay or [])),
        maps,
        masks,
    )
    plan = batch_plan.plan_command(
        rows,
        model=model,
        asked=asked,
        seeds=seeds,
        weights=weights or [],
        methods=methods,
        wildcards=wildcards,
        lora_dir=lora_dir,
        embeddings_dir=embeddings_dir,
        offline=dry_run,
    )
    _tell(plan.problems, quiet=quiet)
    warnings, counts = batch_plan.remarks(plan, saving, wanted=not quiet or dry_run)
    _tell(warnings, quiet=quiet and not dry_run, most=None if dry_run else _MOST_WARNINGS)
    if dry_run:
        _show_plan(plan, output, saving, part, counts, overwrite=overwrite, as_json=as_json)
        return
    how: dict[str, Any] = {
        "batch_size": batch_size,
        "overwrite": overwrite,
        "limit": limit,
        "shard": part,
        "load": partial(load_on_local_device, plan.model.source, device, dtype, offload),
    }
    if ray:
        from promptweight.batch import RayCluster

        how["cluster"] = RayCluster(ray_address, workers, device, dtype, offload)
    _run(plan, output, saving, how, as_json=as_json, quiet=quiet)


def _run(
    plan: Plan, output: Path, saving: OutputOptions, how: dict[str, Any], *, as_json: bool, quiet: bool
) -> None:
    """Make the pictures; `how` are further arguments of `engine.run`."""
    from promptweight.batch import format_duration, run, show_progress
    from promptweight.cli import batch_plan

    stdout = sys.stdout

    def tell(line: dict[str, Any]) -> None:
        if as_json:
            _print_json(line, stdout)
        elif line["status"] == "failed":
            typer.echo(f"failed: picture {line['index']} (line {line['line']}): {line['error']}", err=True)
        elif line["status"] == "ok":
            console.print_lines((output / name for name in [line["file"], *line.get("beside", [])]), stdout)

    shard: Shard = how["shard"]
    # What libraries print meanwhile is no data: Ray tells on stdout of workers that died.
    with redirect_stdout(sys.stderr), show_progress(quiet=quiet, is_first=shard.number == 1) as watch:
        outcome = run(plan, output, saving=saving, watch=watch, tell=tell, **how)
    if plan.sweep and not outcome.is_stopped:
        sheets = batch_plan.sheets(plan, output, saving)
        if not as_json:
            console.print_lines(sheets)
    if not quiet:
        where = f"{shard}: " if shard.total > 1 else ""
        failed = f", {outcome.failed} failed" if outcome.failed else ""
        left = f", {outcome.left} left" if outcome.left else ""
        typer.echo(
            f"{where}{outcome.ok} made, {outcome.skipped} there already{failed}{left}, "
            f"{format_duration(outcome.seconds)}",
            err=True,
        )
    if outcome.is_stopped:
        raise typer.Exit(130)
    if outcome.failed:
        raise typer.Exit(1)


def _print_json(line: dict[str, Any], file: TextIO) -> None:
    """Print a dictionary as one line of JSON, at once: another program may read along."""
    readable = (file.encoding or "").lower().replace("-", "") == "utf8"
    typer.echo(json.dumps(line, ensure_ascii=not readable), file=file)
    file.flush()


def _tell(problems: Any, *, quiet: bool, most: int | None = None) -> None:
    """Print problems on stderr, one a line; mistakes end the program with 2."""
    mistakes: list[Problem] = [problem for problem in problems if not problem.is_warning]
    shown = [problem for problem in problems if not (problem.is_warning and quiet)]
    for problem in shown[:most]:
        typer.echo(str(problem), err=True)
    if most is not None and len(shown) > most:
        typer.echo(f"and {len(shown) - most} warnings more; --dry-run shows all", err=True)
    if mistakes:
        raise typer.Exit(2)


def _show_plan(
    plan: Plan, output: Path, saving: OutputOptions, shard: Shard, counts: Counts, *, overwrite: bool, as_json: bool
) -> None:
    from promptweight.cli import batch_plan
    from promptweight.cli.prompt_report import visible

    lines = batch_plan.preview(plan, output, saving, shard, counts, overwrite=overwrite)
    if as_json:
        for line in lines:
            _print_json(line, sys.stdout)
        return
    made = 0
    for line in lines:
        made += line["status"] == "to make"
        sides = line["width"], line["height"]
        size = "x".join(str(side or "own") for side in sides) if any(sides) else "own size"
        tokens = "+".join(str(count["tokens"]) for count in line["tokens"]) or "?"
        about = f"  [{' · '.join(line['sweep'])}]" if line["sweep"] else ""
        console.print_lines(
            [
                f"{line['status']:<13}  {line['file']}  {size:>9}  {line['num_inference_steps']:>3} steps  "
                f"{tokens:>3} tokens  {visible(line['prompt'])}{about}"
            ]
        )
    where = f"{shard}: " if shard.total > 1 else ""
    typer.echo(f"{where}{made} to make of {len(lines)}, with {plan.model.name}", err=True)
