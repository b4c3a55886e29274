"""`promptweight mcp`: a server of the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptweight.cli import options
from promptweight.errors import SettingError
from promptweight.messages import message


def mcp(
    model: options.Model = "mini",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder in which finished images are saved.")
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    scheduler: options.Scheduler = None,
    offload: options.Offload = None,
) -> None:
    """Serve images and prompts as tools of the Model Context Protocol (MCP), over stdin and stdout."""
    try:
        from promptweight.cli.mcp_tools import PromptTools
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "mcp":
            raise
        raise SettingError(message("mcp-missing")) from None

    tools = PromptTools(model, output, device=device, dtype=dtype, scheduler=scheduler, offload=offload)
    tools.make_server().run("stdio")
