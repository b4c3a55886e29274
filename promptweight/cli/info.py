"""`promptweight info`: the generation settings in image files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptweight.cli import console, options
from promptweight.errors import PromptweightError

if TYPE_CHECKING:
    from promptweight.metadata import GenerationInfo, ImageMetadata


def info(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Image files (PNG, JPEG, WebP, AVIF), or .txt and .json of them."
        ),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Show the settings in images of promptweight, AUTOMATIC1111, ComfyUI, InvokeAI and other tools."""
    from promptweight.metadata import read_metadata

    described: list[dict[str, Any]] = []
    failed = False
    for file in files:
        try:
            metadata = read_metadata(file)
        except (PromptweightError, OSError) as error:
            if len(files) == 1:
                raise
            typer.echo(f"error: {console.describe_error(error)}", err=True)
            failed = True
            continue
        if as_json:
            name = {"file": str(file)} if len(files) > 1 else {}
            described.append({**name, **metadata.to_dict()})
        else:
            if len(files) > 1:
                console.print_lines([f"# {_escape(file)}"])
            _print_metadata(file, metadata)
    if as_json:
        console.print_json(described if len(files) > 1 else described[0])
    if failed:
        raise typer.Exit(1)


def _print_metadata(file: Path, metadata: ImageMetadata) -> None:
    found = metadata.find_info()
    if metadata.record is not None:
        console.print_lines(f"{name}: {_escape(value)}" for name, value in metadata.record.items())
    elif found is None:
        console.print_warnings([f"{file} has no generation settings"])
    elif _is_infotext(metadata, found):
        console.print_lines(_escape(line) for line in str(metadata.infotext).splitlines())
    else:
        console.print_lines(_describe(found))
    if found is not None:
        console.print_warnings(_escape(text) for text in (*found.warnings, found.error) if text is not None)


def _is_infotext(metadata: ImageMetadata, found: GenerationInfo) -> bool:
    """Return whether the settings were read from the infotext, which is then printed as it is."""
    from promptweight.metadata import parse_infotext

    return metadata.infotext is not None and parse_infotext(metadata.infotext)[2] == found.settings != {}


def _describe(found: GenerationInfo) -> Iterator[str]:
    yield f"tool: {_escape(found.tool)}"
    if found.prompt:
        yield f"prompt: {_escape(found.prompt)}"
    if found.negative_prompt:
        yield f"negative_prompt: {_escape(found.negative_prompt)}"
    for lora in found.loras:
        weights = f"{lora.weight:g}"
        if lora.text_encoder_weight != lora.weight:
            weights += f" (text encoder {lora.text_encoder_weight:g})"
        yield f"lora: {_escape(lora.name)} {weights}"
    for name, value in found.settings.items():
        yield f"{_escape(name)}: {_escape(value)}"


def _escape(value: object) -> str:
    """Return a value on one line, without characters that act on a terminal."""
    return console.escape_controls(value).replace("\n", "\\n")
