"""`promptweight info`: the generation settings in image files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptweight.cli import console, options
from promptweight.errors import PromptweightError

if TYPE_CHECKING:
    from promptweight.metadata import ImageMetadata


def info(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Image files: PNG, JPEG, WebP or AVIF.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Show the settings in images of promptweight, AUTOMATIC1111, ComfyUI, InvokeAI or SwarmUI."""
    from promptweight.metadata import read_metadata

    described: list[dict[str, Any]] = []
    failed = False
    for file in files:
        try:
            metadata = read_metadata(file)
        except (PromptweightError, OSError) as error:
            if len(files) == 1:
                raise
            typer.echo(f"error: {error}", err=True)
            failed = True
            continue
        if as_json:
            name = {"file": str(file)} if len(files) > 1 else {}
            described.append({**name, **_to_dict(metadata)})
        else:
            if len(files) > 1:
                console.print_lines([f"# {file}"])
            _print_metadata(file, metadata)
    if as_json:
        console.print_json(described if len(files) > 1 else described[0])
    if failed:
        raise typer.Exit(1)


def _to_dict(metadata: ImageMetadata) -> dict[str, Any]:
    from promptweight.metadata import parse_infotext

    making = metadata.generation_info()
    _, negative, settings = parse_infotext(metadata.infotext or "")
    return {
        "tool": None if making is None else making.tool,
        "prompt": "" if making is None else making.prompt,
        "negative_prompt": negative if making is None else making.negative_prompt or negative,
        "settings": settings or ({} if making is None else dict(making.settings)),
        "promptweight": metadata.record,
        "parameters": metadata.infotext,
        "digital_source_type": metadata.digital_source_type,
    }


def _print_metadata(file: Path, metadata: ImageMetadata) -> None:
    making = metadata.generation_info()
    if metadata.record is not None:
        console.print_lines(f"{name}: {value}" for name, value in metadata.record.items())
    elif making is None:
        console.print_warnings([f"{file} has no generation settings"])
    elif making is not metadata.other_tool and metadata.infotext is not None:
        console.print_lines([metadata.infotext])
    else:
        console.print_lines([f"tool: {making.tool}", f"prompt: {making.prompt}"])
        if making.negative_prompt:
            console.print_lines([f"negative_prompt: {making.negative_prompt}"])
        console.print_lines(f"{name}: {value}" for name, value in making.settings.items())
