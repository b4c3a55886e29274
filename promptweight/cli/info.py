"""`promptweight info`: how pictures were made, from what their files say."""

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
        list[Path], typer.Argument(metavar="FILE...", help="Pictures: PNG, JPEG, WebP or AVIF.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Tell how pictures were made: by promptweight, AUTOMATIC1111, ComfyUI, InvokeAI or SwarmUI."""
    from promptweight.metadata import read_metadata

    found: list[dict[str, Any]] = []
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
            found.append(
                {"file": str(file), **_described(metadata)} if len(files) > 1 else _described(metadata)
            )
        else:
            if len(files) > 1:
                console.print_lines([f"# {file}"])
            _print(file, metadata)
    if as_json:
        console.print_json(found if len(files) > 1 else found[0])
    if failed:
        raise typer.Exit(1)


def _described(metadata: ImageMetadata) -> dict[str, Any]:
    from promptweight.metadata import parse_infotext

    making = metadata.making()
    _, negative, settings = parse_infotext(metadata.parameters or "")
    return {
        "tool": None if making is None else making.tool,
        "prompt": "" if making is None else making.prompt,
        "negative_prompt": negative if making is None else making.negative_prompt or negative,
        "settings": settings or ({} if making is None else dict(making.settings)),
        "promptweight": metadata.record,
        "parameters": metadata.parameters,
        "digital_source_type": metadata.digital_source_type,
    }


def _print(file: Path, metadata: ImageMetadata) -> None:
    making = metadata.making()
    if metadata.record is not None:
        console.print_lines(f"{name}: {value}" for name, value in metadata.record.items())
    elif making is None:
        console.print_warnings([f"{file} says nothing about how it was made"])
    elif making is not metadata.foreign and metadata.parameters is not None:
        console.print_lines([metadata.parameters])
    else:
        console.print_lines([f"tool: {making.tool}", f"prompt: {making.prompt}"])
        if making.negative_prompt:
            console.print_lines([f"negative_prompt: {making.negative_prompt}"])
        console.print_lines(f"{name}: {value}" for name, value in making.settings.items())
