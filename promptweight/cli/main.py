"""The program `promptweight`: its commands, and the exit codes of errors."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Annotated, NoReturn

import typer

from promptweight._version import __version__
from promptweight.cli import (
    batch,
    bench,
    calibrate,
    console,
    edit,
    evaluate,
    explain,
    families,
    generate,
    info,
    mcp,
    prompt,
    ui,
)
from promptweight.errors import PromptweightError, SettingError, WordNotFoundError

app = typer.Typer(
    name="promptweight",
    help="Prompt weighting and attention maps for text-to-image diffusion models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("generate")(generate.generate)
app.command("edit")(edit.edit)
app.command("batch")(batch.batch)
app.command("explain")(explain.explain)
app.command("parse")(prompt.parse)
app.command("convert")(prompt.convert)
app.command("detect")(prompt.detect)
app.command("weightings")(prompt.weightings)
app.command("families")(families.families)
app.command("info")(info.info)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("ui")(ui.ui)
app.command("mcp")(mcp.mcp)
app.command("bench")(bench.bench)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"promptweight {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Prompt weighting and attention maps for text-to-image diffusion models."""


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Letters of a prompt that the terminal cannot encode are printed as escapes.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
        sys.exit(0)
    except PromptweightError as error:
        _exit(console.describe_error(error), 2 if isinstance(error, (SettingError, WordNotFoundError)) else 1)
    except OSError as error:
        _exit(console.describe_error(error), 1)
    except (RuntimeError, MemoryError) as error:
        from promptweight.generation import is_out_of_memory
        from promptweight.models import summarize_error

        if not is_out_of_memory(error):
            raise
        _exit(
            f"out of memory ({summarize_error(error)}); smaller images, --dtype float16 or bfloat16, "
            "--offload model or a smaller --batch-size need less",
            1,
        )


def _exit(text: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):  # a closed stderr must not change the exit code
        typer.echo(f"error: {text}", err=True)
    sys.exit(code)
