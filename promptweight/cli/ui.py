"""`promptweight ui`: the app in a browser, by default on this machine only."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from promptweight.cli import console
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.validation import check_choice

LANGUAGES = ("en", "pt-br")
ROOT_PATH = re.compile(r"(https?://[^/\s?#]+)?(/[^\s?#]*)?(?<!^)")
"""A path that begins with a slash, or an address of the web."""

_SIZE = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([kmgt])(i?)b\s*", re.IGNORECASE)


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
    output_dir: Annotated[
        Path, typer.Option(help="Folder in which finished images are saved; the tab History lists it.")
    ] = Path("out"),
    output_limit: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Size of that folder, such as 2GB, above which no further image is drawn."
        ),
    ] = None,
    no_save: Annotated[bool, typer.Option("--no-save", help="Save no images.")] = False,
    lora_dir: Annotated[Path | None, typer.Option(help="Folder of the LoRAs that prompts name.")] = None,
    embeddings_dir: Annotated[
        Path | None, typer.Option(help="Folder of the textual inversions that prompts name.")
    ] = None,
    root_path: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Path or address at which a reverse proxy serves the app, such as /images."
        ),
    ] = None,
    api: Annotated[
        bool,
        typer.Option("--api", help="Also serve programs that know AUTOMATIC1111's API, below /sdapi/v1/."),
    ] = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address; do not open it in a browser.")
    ] = False,
    lang: Annotated[
        str | None, typer.Option(help="Language: en or pt-br; by default that of the browser.")
    ] = None,
) -> None:
    """Open the app: prompts, images, and the attention map of every word."""
    logins = [(name, password) for name, _, password in (each.partition(":") for each in auth or [])]
    for text, (name, password) in zip(auth or [], logins, strict=True):
        if not name or not password:
            raise SettingError(message("cli-auth", text=text))
    if lang is not None:
        check_choice("lang", lang, LANGUAGES)
    if root_path is not None and not ROOT_PATH.fullmatch(root_path):
        raise SettingError(message("cli-root-path", path=root_path))
    if output_limit is not None and no_save:
        raise SettingError(message("cli-output-limit-unused"))
    limit = None if output_limit is None else parse_size(output_limit)
    try:
        from promptweight_ui.app import LOOPBACK, launch
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise SettingError(message("ui-missing")) from None

    if not logins and host not in LOOPBACK:
        console.print_warnings([message("ui-open-host", host=host)])
    launch(
        model or ["mini"],
        host=host,
        port=port,
        share=share,
        auth=logins,
        language=lang,
        output_dir=None if no_save else output_dir,
        output_limit=limit,
        lora_dir=lora_dir,
        embeddings_dir=embeddings_dir,
        root_path=root_path,
        api=api,
        inbrowser=not no_browser and host in LOOPBACK and has_screen(),
    )


def has_screen() -> bool:
    """Return whether a browser can open a window: not on a server, where it would take the terminal."""
    has_window_system = sys.platform in ("win32", "darwin")
    return has_window_system or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def parse_size(text: str) -> int:
    """Return a size in bytes; MB and GB are decimal, MiB and GiB binary.

    >>> parse_size("2GB"), parse_size("1.5 MiB")
    (2000000000, 1572864)

    Raises:
        SettingError: the text is not a size above 0 with a unit.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise SettingError(message("cli-output-limit", text=text))
    factor = (1024 if match[3] else 1000) ** ("kmgt".index(match[2].lower()) + 1)
    size = int(float(match[1]) * factor)
    if size < 1:
        raise SettingError(message("cli-output-limit", text=text))
    return size
