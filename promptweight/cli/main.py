"""The commands put together, and how errors leave the program."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Annotated, NoReturn

import typer

from promptweight.cli import batch as batches
from promptweight.cli import bench, edit, evaluate, generate, info, prompt
from promptweight.cli import ui as browser
from promptweight.errors import PromptweightError, SettingError, WordNotFoundError

app = typer.Typer(
    name="promptweight",
    help="Prompt weights that work and attention you can see.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("generate")(generate.generate)
app.command("edit")(edit.edit)
app.command("batch")(batches.batch)
app.command("parse")(prompt.parse)
app.command("convert")(prompt.convert)
app.command("detect")(prompt.detect)
app.command("methods")(prompt.methods)
app.command("info")(info.info)
app.command("evaluate")(evaluate.evaluate)
app.command("ui")(browser.ui)
app.command("bench")(bench.bench)


def _show_version(wanted: bool) -> None:
    if wanted:
        from promptweight import __version__

        typer.echo(f"promptweight {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Prompt weights that work and attention you can see."""


def main() -> NoReturn:
    """Run the command line of this process and exits with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A prompt may hold letters that the terminal has not; they are shown as codes instead of failing.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
        sys.exit(0)
    except PromptweightError as error:
        _leave(str(error), 2 if isinstance(error, (SettingError, WordNotFoundError)) else 1)
    except OSError as error:
        _leave(str(error), 1)
    except (RuntimeError, MemoryError) as error:
        from promptweight.batch import is_out_of_memory
        from promptweight.models import summarize_error

        if not is_out_of_memory(error):
            raise
        _leave(
            f"memory was not enough ({summarize_error(error)}); smaller pictures, --dtype float16 or bfloat16, "
            "--offload model or a smaller --batch-size need less",
            1,
        )


def _leave(message: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):  # a closed stderr must not hide the exit code
        typer.echo(f"error: {message}", err=True)
    sys.exit(code)
