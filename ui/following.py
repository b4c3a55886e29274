"""Running a model for a session and following it, for the tabs that make more than one picture."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import gradio as gr

from promptweight.generate import Progress
from promptweight_ui.context import Context
from promptweight_ui.generating import outcome
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
    return outcome(run, language)
