"""`promptweight ui`: the app in a browser, on this machine alone unless asked otherwise."""

from __future__ import annotations

from typing import Annotated

import typer

from promptweight.errors import SettingError


def ui(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A model to offer: built-in name, folder, file or hub id; may be repeated."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 is every network.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="By default from 7860 on.")] = None,
    share: Annotated[bool, typer.Option("--share", help="Also make a public link through Gradio.")] = False,
    auth: Annotated[
        list[str] | None, typer.Option(metavar="NAME:PASSWORD", help="Let only these in; may be repeated.")
    ] = None,
    lang: Annotated[str | None, typer.Option(help="en or pt-br; by default each browser's own.")] = None,
) -> None:
    """Open the app: write a prompt, see every word on the picture, change a weight, see what it did."""
    pairs = [(name, password) for name, _, password in (each.partition(":") for each in auth or [])]
    for name, password in pairs:
        if not name or not password:
            raise SettingError(f"auth is {name!r}; it must be a name and a password, as in maria:segredo")
    if lang not in (None, "en", "pt-br"):
        raise SettingError(f"lang is {lang!r}; valid: en, pt-br")
    from promptweight_ui.app import launch

    launch(model or ["mini"], host=host, port=port, share=share, auth=pairs, language=lang)
