"""Running a model for a session and telling its page how it goes, for every tab that runs one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import validation
from promptweight_ui.context import Context
from promptweight_ui.i18n import say
from promptweight_ui.malloc_trim import trim
from promptweight_ui.runs import News, Run

if TYPE_CHECKING:
    from promptweight.generation.generate import Progress

Message = TypeVar("Message")


def followed(
    context: Context,
    request: gr.Request,
    language: object,
    work: Callable[[Callable[[Progress], bool]], Any],
    tell: Callable[[News | None], Message | None],
    show: Callable[[Progress], Any] | None = None,
) -> Generator[Message, None, Any]:
    """Runs `work` in a thread and yields what is to be told; its value (`yield from`) is `work`'s.

    The session's run before it ends at its next step, and so does this one when its page is closed.

    Args:
        context: what the tabs share.
        request: of the browser.
        language: of the page.
        work: given the callback that `promptweight.generate` takes.
        tell: given the news of the run, None where there is none for a while; returns a message for the page,
            None for nothing to tell.
        show: makes what `News.look` holds.

    Raises:
        gr.Error: the run failed.
    """
    session = context.sessions.of(request)
    if session.run is not None:
        session.run.stop()
    run = session.run = Run(show)
    run.start(work)
    try:
        for news in run.news():
            if (message := tell(news)) is not None:
                yield message
        return outcome(run, language)
    finally:
        trim()


def outcome(run: Run, language: object) -> Any:
    """Returns what a run made; raises its failure as something a person can read."""
    try:
        return run.outcome
    except PromptweightError as error:
        raise validation.refused(language, error) from error
    except Exception as error:
        # What other libraries say may hold paths of the server, so it goes into its log alone.
        logging.getLogger("promptweight").exception("a run failed")
        is_memory = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
        key = "error_memory" if is_memory else "error_failed"
        title = say(language, "error_title")
        raise gr.Error(say(language, key), title=title, print_exception=False) from error
