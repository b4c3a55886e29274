"""Reach of weights in the Generate tab: what each weight of the prompt changes, and what is left at 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight_ui.context import LIGHT, RUN, Context
from promptweight_ui.generation import SHARED, check_form, single_image_form
from promptweight_ui.i18n import LANGUAGES, encodable, known_language, translate, translate_message
from promptweight_ui.runs import Run, RunStatus, follow_run
from promptweight_ui.validation import as_page_error

if TYPE_CHECKING:
    from promptweight.generation import ReachReport


def build(context: Context) -> None:
    """Build the button and its answer, which follows the language of the page."""
    make, parts = context.make, context.parts
    with gr.Row(elem_classes="pw-actions"):
        ask = make(
            gr.Button, {"value": "reach_go"}, size="sm", variant="secondary", elem_id="generate-reach-go"
        )
    texts = gr.State({})
    answer = gr.Markdown(elem_id="generate-reach", container=False)

    def reach(request: gr.Request, *values: Any) -> Iterator[tuple[dict[str, str], str]]:
        *shared, language = values
        try:
            for found in _measure(context, shared, language, request):
                yield found, found.get(known_language(language), "")
        except Exception as error:
            raise as_page_error(language, error) from error

    run = ask.click(
        reach,
        [*(parts[name] for name in SHARED), context.language],
        [texts, answer],
        api_visibility="private",
        **RUN,
    )
    run.failure(lambda: ({}, ""), None, [texts, answer], api_visibility="private", **LIGHT)
    context.language.change(
        lambda language, found: found.get(language, ""),
        [context.language, texts],
        [answer],
        api_visibility="private",
        **LIGHT,
    )


def _measure(
    context: Context, shared: list[Any], language: object, request: gr.Request
) -> Iterator[dict[str, str]]:
    """Yield the state of the run and then the sentences of each phrase, by language."""
    call = check_form(context, single_image_form(shared), language)

    def work(run: Run) -> ReachReport:
        with context.models.use(call.model) as pipe, run.interrupting(pipe):
            from promptweight.generation import measure_reach

            return measure_reach(pipe, call.prompt, options=call.options)

    def describe(status: RunStatus) -> dict[str, str]:
        key = "picture_waiting" if status.queue else "reach_running"
        return {each: translate(each, key) for each in LANGUAGES}

    report: ReachReport | None = yield from follow_run(
        context.models.turns, context.sessions.get(request), work, describe
    )
    if report is None:  # another run of the page has replaced this one
        yield {}
        return
    yield {each: _sentences(report, each) for each in LANGUAGES}


def _sentences(report: ReachReport, language: str) -> str:
    """Return a list with one sentence for each phrase."""
    sentences = (translate_message(language, found.summary()) for found in report.phrases)
    return "\n".join(f"- {encodable(sentence)}" for sentence in sentences)
