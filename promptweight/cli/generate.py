"""`promptweight generate`: images, overlays and attention maps from one prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptweight.cli import console
from promptweight.cli.image_options import ImageOptions, with_image_options
from promptweight.cli.pictures import choose_pipeline, fit_pictures
from promptweight.errors import PromptweightError, SettingError
from promptweight.messages import message
from promptweight.prompt import parse

if TYPE_CHECKING:
    from pathlib import Path

    from promptweight.generation import PromptEdit, Result


@with_image_options
def generate(
    context: typer.Context,
    prompt: Annotated[
        str | None,
        typer.Argument(
            help="Prompt, such as 'um (gato:1.4) vermelho'; - for stdin; -- precedes one that begins with a "
            "dash."
        ),
    ] = None,
    *,
    images: ImageOptions,
) -> None:
    """Generate images and attention maps from a prompt."""
    edit = None
    if images.from_file is not None:
        from promptweight.cli.rerun import read_rerun

        rerun = read_rerun(context, images)
        images = rerun.images
        if prompt is None:
            prompt, edit = rerun.prompt, rerun.edit
    elif prompt is None:
        raise typer.BadParameter("give a prompt, or an image file with --from", param_hint="PROMPT")
    draw(console.read_argument(prompt), images, edit)


def draw(prompt: str, images: ImageOptions, edit: PromptEdit | None = None) -> None:
    """Draw images, write their files, and report both.

    Args:
        prompt: the prompt.
        images: the options of the command.
        edit: the edited prompt, of `promptweight edit`.
    """
    for text in (prompt, *([] if edit is None else [str(edit.prompt)])):
        parsed = parse(text, images.dialect).at()
        if images.quiet:
            console.print_diagnostics(parsed)
        else:
            console.print_prompt(parsed)
    from promptweight.atomic_files import check_folder
    from promptweight.cli.progress import show_progress
    from promptweight.generation import generate
    from promptweight.metadata import parse_parts
    from promptweight.models import load

    # Report errors before the model is loaded, which may take minutes.
    options, parts = images.to_generate_options(edit), parse_parts(images.metadata)
    check_folder(images.output)
    files: list[Path] = []
    summary: dict[str, Any] = {}

    def save(result: Result) -> None:
        files.extend(
            result.save(
                images.output,
                overlays=options.require_words,
                contact_sheet=images.contact_sheet,
                maps=images.save_maps,
                metadata=parts,
            )
        )

    try:
        with show_progress(quiet=images.quiet) as progress:
            pipe = load(images.model, device=images.device, dtype=images.dtype, offload=images.offload)
            if images.image is not None or images.control is not None:
                pipe = choose_pipeline(pipe, options.pipeline_kwargs, images.controlnet)
                arguments = fit_pictures(options.pipeline_kwargs, pipe, images.width, images.height)
                options = replace(options, pipeline_kwargs=arguments)
            result = generate(
                pipe,
                prompt,
                options=options,
                callback=progress,
                on_image=save,
            )
        summary = result.to_dict()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if not images.argument or isinstance(error, PromptweightError):
            raise
        given = " ".join(images.argument)
        raise SettingError(message("cli-argument-unfit", given=given, reason=str(error))) from error
    finally:  # also list the files written before an error
        if not images.as_json:
            console.print_lines(files)
        elif files or summary:
            console.print_json({"files": files, **summary})
    if not images.quiet:
        console.print_shares(result)
    edited_warnings = () if result.edited is None else result.edited.warnings
    console.print_warnings(dict.fromkeys([*result.warnings, *edited_warnings]))
    if len(result.images) < images.n or result.stopped_after is not None:
        raise typer.Exit(130)
