"""Running a model for a session and following it, for the tabs that make more than one picture."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight.generate import Progress
from promptweight_ui import inputs
from promptweight_ui.context import Context
from promptweight_ui.language import say
from promptweight_ui.runs import News, Run


def followed(
    context: Context,
    request: gr.Request,
    language: object,
    work: Callable[[Callable[[Progress], bool]], Any],
) -> Generator[News | None, None, Any]:
    """Runs `work` in a thread and yields the news of it; its value (`yield from`) is what `work` returned.

    The session's run before it ends at its next step, and so does this one when its page is closed.

    Args:
        context: what the tabs share.
        request: of the browser.
        language: of the page.
        work: given the callback that `promptweight.generate` takes.

    Raises:
        gr.Error: the run failed.
    """
    session = context.sessions.of(request)
    if session.run is not None:
        session.run.stop()
    run = session.run = Run()
    run.start(work)
    yield from run.news()
    try:
        return run.outcome
    except PromptweightError as error:
        raise inputs.refused(language, error) from error
    except Exception as error:
        # What other libraries say may hold paths of the server, so it goes into its log alone.
        logging.getLogger("promptweight").exception("a run failed")
        is_memory = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
        key = "error_memory" if is_memory else "error_failed"
        title = say(language, "error_title")
        raise gr.Error(say(language, key), title=title, print_exception=False) from error
