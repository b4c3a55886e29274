"""`promptweight explain`: how much of each weighted phrase its weight reaches on a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from promptweight.cli import console, options

if TYPE_CHECKING:
    from promptweight.generation import PhraseReach


def explain(
    prompt: Annotated[
        str, typer.Argument(help="Prompt with weights, such as 'um (gato:0.5) vermelho'; - for stdin.")
    ],
    phrase: Annotated[
        list[str] | None,
        typer.Option(
            "--phrase",
            metavar="WORD",
            help="Explain this word or phrase instead of those with weights; repeatable.",
        ),
    ] = None,
    at: Annotated[
        float,
        typer.Option(help="Noise level as a part of the run: 1 is its first step, 0 its last."),
    ] = 0.7,
    model: options.Model = "mini",
    negative: Annotated[str, typer.Option(help="Negative prompt.")] = "",
    weighting: options.AnyWeighting = None,
    dialect: options.Dialect = "pw",
    clip_skip: options.ClipSkip = None,
    steps: options.Steps = 25,
    guidance: options.Guidance = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the noise.")] = 0,
    width: options.Pixels = None,
    height: options.Pixels = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    scheduler: options.Scheduler = None,
    offload: options.Offload = None,
    lora_dir: options.LoraDir = None,
    embeddings_dir: options.EmbeddingsDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how much of a phrase its weight reaches, and what holds the rest at weight 0."""
    from promptweight.generation import GenerateOptions, choose_text, measure_reach
    from promptweight.models import load

    text, phrases = console.read_argument(prompt), phrase or None
    checked = GenerateOptions(
        negative_prompt=negative,
        weighting=weighting,
        dialect=dialect,
        clip_skip=clip_skip,
        num_inference_steps=steps,
        guidance_scale=guidance,
        seed=seed,
        width=width,
        height=height,
        lora_dir=lora_dir,
        embeddings_dir=embeddings_dir,
    )
    choose_text(text, phrases, at, checked)  # reports errors before the model is loaded
    pipe = load(model, device=device, dtype=dtype, scheduler=scheduler, offload=offload)
    report = measure_reach(pipe, text, phrases=phrases, at=at, options=checked)
    if as_json:
        sentences = [found.summary() for found in report.phrases]
        data = asdict(report)
        for found, sentence in zip(data["phrases"], sentences, strict=True):
            found["sentence"] = sentence
        console.print_json({"model": model, **data})
        return
    console.make_console(stderr=False).print(make_table(report.phrases))
    console.print_lines(found.summary() for found in report.phrases)


def make_table(phrases: tuple[PhraseReach, ...]) -> Table:
    """Return a table with the reach, the residual and the carriers of each phrase."""
    table = Table("phrase", box=None, pad_edge=False, header_style="dim")
    for column in ("weight", "reach", "left at 0"):
        table.add_column(column, justify="right")
    table.add_column("carried by")
    for found in phrases:
        carriers = ", ".join(f"{carrier.name} {carrier.share:.0%}" for carrier in found.named_carriers)
        weight = "" if found.weight is None else f"{found.weight:g}"
        numbers = ("" if value is None else f"{value:.0%}" for value in (found.reach, found.residual))
        table.add_row(found.phrase, weight, *numbers, carriers)
    return table
