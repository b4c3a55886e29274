"""`promptweight ui`: the app in a browser, by default on this machine only."""

from __future__ import annotations

from typing import Annotated

import typer

from promptweight.errors import SettingError

LANGUAGES = ("en", "pt-br")


def ui(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="Model to offer: built-in name, folder, file or hub id; repeatable."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="By default the first free port from 7860.")
    ] = None,
    share: Annotated[bool, typer.Option("--share", help="Also create a public link through Gradio.")] = False,
    auth: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:PASSWORD", help="Login that is required; repeatable."),
    ] = None,
    lang: Annotated[
        str | None, typer.Option(help="Language: en or pt-br; by default that of the browser.")
    ] = None,
) -> None:
    """Open the app: prompts, images, and the attention map of every word."""
    logins = [(name, password) for name, _, password in (each.partition(":") for each in auth or [])]
    for text, (name, password) in zip(auth or [], logins, strict=True):
        if not name or not password:
            raise SettingError(f"auth must be a name and a password, such as maria:segredo; got {text!r}")
    if lang is not None and lang not in LANGUAGES:
        raise SettingError(f"lang must be one of: {', '.join(LANGUAGES)}; got {lang!r}")
    from promptweight_ui.app import launch

    launch(model or ["mini"], host=host, port=port, share=share, auth=logins, language=lang)
