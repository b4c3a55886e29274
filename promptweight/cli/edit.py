"""`promptweight edit`: an image, and the same one with its prompt edited."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from promptweight.cli import options
from promptweight.cli.generate import draw
from promptweight.cli.image_options import ImageOptions, with_image_options


@with_image_options
def edit(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            help="Prompt of the source image, such as 'um gato vermelho'; with --from it can be left out."
        ),
    ] = None,
    edited: Annotated[str | None, typer.Argument(help="Edited prompt, such as 'um gato azul'.")] = None,
    kind: Annotated[
        str, typer.Option(help="replace: words are swapped; refine: words are added or removed.")
    ] = "replace",
    cross: Annotated[
        float,
        typer.Option(help="First fraction of the steps with the source's cross-attention of the words."),
    ] = 0.8,
    self_attention: Annotated[
        float,
        typer.Option(
            "--self",
            help="First fraction of the steps with the source's self-attention, which keeps the layout.",
        ),
    ] = 0.4,
    *,
    images: ImageOptions,
) -> None:
    """Generate images, and edited ones in their layout (prompt-to-prompt).

    Writes each source image, the edited image, and a sheet of both.
    """
    from promptweight.generation import PromptEdit

    settings: dict[str, Any] = {
        "kind": kind,
        "cross_replace_steps": cross,
        "self_replace_steps": self_attention,
    }
    if images.from_file is not None:
        from promptweight.cli.rerun import read_rerun

        rerun = read_rerun(context, images)
        images = rerun.images
        if edited is None:  # one prompt is the edited one
            source, edited = None, source
        source = rerun.prompt if source is None else source
        if rerun.edit is not None:
            edited = str(rerun.edit.prompt) if edited is None else edited
            names = dict(zip(("kind", "cross", "self_attention"), settings, strict=True))
            from_file = names.keys() - options.given_options(context)
            settings |= {names[name]: getattr(rerun.edit, names[name]) for name in from_file}
    if source is None or edited is None:
        raise typer.BadParameter("give the source prompt and the edited prompt", param_hint="SOURCE EDITED")
    draw(source, images, PromptEdit(edited, **settings))
