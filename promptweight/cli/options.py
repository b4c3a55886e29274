"""Options that several commands share, with one help text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptweight.prompt import DIALECTS

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Built-in name, folder, .safetensors file, or hub id (owner/name@revision).",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps or xpu.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, float16 or bfloat16.")]
Offload = Annotated[
    str | None,
    typer.Option("--offload", help="model: keep parts of the model in main memory until they are needed."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        help="Sampler such as 'DPM++ 2M Karras', or a class of diffusers; by default the model's own.",
    ),
]
LoraDir = Annotated[
    Path | None, typer.Option("--lora-dir", help="Folder of the LoRAs that <lora:name:weight> names.")
]
EmbeddingsDir = Annotated[
    Path | None,
    typer.Option("--embeddings-dir", help="Folder of the textual inversions that the prompts name."),
]

_WEIGHTING = typer.Option(
    "--weighting",
    help="How weights act: a name of `promptweight weightings`, then settings, as in "
    "'attention layers=up_blocks steps=0-0.6'.",
)
_NEGATIVE_GUIDANCE = typer.Option(
    "--negative-guidance",
    help="How the negative prompt acts: cfg, or nag or vsf, which act in attention at any --guidance; then "
    "settings, as in 'nag scale=5'.",
)
NegativeGuidance = Annotated[str, _NEGATIVE_GUIDANCE]
AnyNegativeGuidance = Annotated[str | None, _NEGATIVE_GUIDANCE]
Weighting = Annotated[str, _WEIGHTING]
AnyWeighting = Annotated[str | None, _WEIGHTING]
ClipSkip = Annotated[
    int | None,
    typer.Option("--clip-skip", help="Number of last layers of CLIP to skip; 0 skips none."),
]
_DIALECT = typer.Option("--dialect", help=f"Syntax of the prompts: {', '.join(DIALECTS)}.")
Dialect = Annotated[str, _DIALECT]
AnyDialect = Annotated[str | None, _DIALECT]
Steps = Annotated[int, typer.Option("--steps", help="Number of denoising steps.")]
Guidance = Annotated[
    float | None, typer.Option("--guidance", help="Guidance scale; by default the model's own.")
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="Seed of the first image; by default a random one, shown in the file name."),
]
Pixels = Annotated[int | None, typer.Option(help="In pixels; by default the model's own size.")]

Overlay = Annotated[
    list[str] | None,
    typer.Option(
        "--overlay", metavar="WORD", help="Also save a heat map of this word or phrase; repeatable."
    ),
]
SaveMaps = Annotated[bool, typer.Option("--save-maps", help="Also save the raw attention maps.")]
MetadataParts = Annotated[
    str,
    typer.Option(
        "--metadata",
        help="Metadata in the image files, separated by commas: parameters (AUTOMATIC1111's infotext), "
        "promptweight (exact JSON), iptc (mark of AI-generated images); or none.",
    ),
]
ALL_METADATA = "parameters,promptweight,iptc"
"""Default of `MetadataParts`."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print file names only.")]


def given_options(context: typer.Context) -> set[str]:
    """Return the names of the parameters that the command line sets."""
    return {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "DEFAULT") != "DEFAULT"
    }
