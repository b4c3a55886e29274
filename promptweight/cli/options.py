"""Options that several commands share, with one help text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptweight.prompt import DIALECTS
from promptweight.weighting import NORMALIZER_NAMES, SPACES

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

Method = Annotated[
    str | None,
    typer.Option("--method", help="How weights act on embeddings; see `promptweight methods`."),
]
Normalizer = Annotated[
    str | None,
    typer.Option("--normalizer", help=f"Normalization of the weights: {', '.join(NORMALIZER_NAMES)}."),
]
_SPACE = typer.Option("--space", help=f"Where weights act: {' or '.join(SPACES)}.")
Space = Annotated[str, _SPACE]
AnySpace = Annotated[str | None, _SPACE]
_MODE = typer.Option(
    "--mode",
    help="How weights act in attention: logit, p2p or value; clip acts inside the CLIP text encoders.",
)
Mode = Annotated[str, _MODE]
AnyMode = Annotated[str | None, _MODE]
ClipSkip = Annotated[
    int | None,
    typer.Option("--clip-skip", help="Number of last layers of CLIP to skip; 0 skips none."),
]
_POOLED = typer.Option("--pooled", help="Pooled text vector: clean, or weighted like the words.")
Pooled = Annotated[str, _POOLED]
AnyPooled = Annotated[str | None, _POOLED]
_DIALECT = typer.Option("--dialect", help=f"Syntax of the prompts: {', '.join(DIALECTS)}.")
Dialect = Annotated[str, _DIALECT]
AnyDialect = Annotated[str | None, _DIALECT]
Balance = Annotated[
    bool,
    typer.Option("--balance", help="Give the phrases of the prompt equal shares of attention."),
]

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
