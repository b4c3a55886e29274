"""The options that several commands have, each in the same words everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptweight.generation import NORMALIZERS, SPACES
from promptweight.prompt import DIALECTS

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="Built-in name, folder, .safetensors, or hub id (owner/name@revision)."
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, xpu.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, float16, bfloat16.")]
Offload = Annotated[
    str | None,
    typer.Option("--offload", help="model: keep parts in main memory until their turn on the GPU."),
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", help="Such as 'DPM++ 2M Karras' or a class of diffusers; else the model's."),
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
    typer.Option("--normalizer", help=f"Even weights out first: {', '.join(NORMALIZERS)}."),
]
_SPACE = typer.Option("--space", help=f"Where weights act: {' or '.join(SPACES)}.")
Space = Annotated[str, _SPACE]
AnySpace = Annotated[str | None, _SPACE]
_MODE = typer.Option(
    "--mode", help="How weights act in attention: logit, p2p, value; or clip, in that of CLIP text encoders."
)
Mode = Annotated[str, _MODE]
AnyMode = Annotated[str | None, _MODE]
ClipSkip = Annotated[
    int | None,
    typer.Option("--clip-skip", help="How many of CLIP's last layers to leave out; 0 leaves out none."),
]
_POOLED = typer.Option("--pooled", help="The pooled text vector: clean, or weighted like the words.")
Pooled = Annotated[str, _POOLED]
AnyPooled = Annotated[str | None, _POOLED]
_DIALECT = typer.Option("--dialect", help=f"How prompts are read: {', '.join(DIALECTS)}.")
Dialect = Annotated[str, _DIALECT]
AnyDialect = Annotated[str | None, _DIALECT]
Balance = Annotated[
    bool,
    typer.Option("--balance", help="Give the phrases of the prompt equal shares of its attention."),
]

Steps = Annotated[int, typer.Option("--steps", help="Denoising steps.")]
Guidance = Annotated[
    float | None, typer.Option("--guidance", help="Guidance scale; by default the model's own.")
]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Of the noise; by default a new one, which is shown.")
]
Pixels = Annotated[int | None, typer.Option(help="In pixels; by default the model's own size.")]

Overlay = Annotated[
    list[str] | None,
    typer.Option(
        "--overlay", metavar="WORD", help="Also show where this word or phrase went; may be repeated."
    ),
]
Maps = Annotated[bool, typer.Option("--maps", help="Also write the raw maps.")]
MetadataParts = Annotated[
    str,
    typer.Option(
        "--metadata",
        help="What picture files say: parameters (AUTOMATIC1111's text), promptweight (exact JSON), iptc "
        "(the mark of AI-made pictures), with commas; or none.",
    ),
]
EVERYTHING = "parameters,promptweight,iptc"
"""Of `MetadataParts`."""

AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the files only.")]
