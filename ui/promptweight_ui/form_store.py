"""Form that the browser keeps (`static/form_store.js`), and the result with which the page opens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from promptweight_ui.components.example_prompts import example_prompts
from promptweight_ui.components.picture import has_files
from promptweight_ui.context import RUN, Context
from promptweight_ui.examples import SEEDS
from promptweight_ui.generation import FORM_NAMES
from promptweight_ui.sessions import Session
from promptweight_ui.static_files import call_script

ARRIVAL_SECONDS = 300
"""Longest time for which an open page waits for the example."""


def keep_form(context: Context, app: gr.Blocks) -> None:
    """Let the browser keep the form and the tab its result, and fill both when the page is opened.

    Called once, after all tabs.
    """
    parts = context.parts
    form = [parts[name] for name in FORM_NAMES]
    examples = {
        language: {"prompt": texts[0], "seed": SEEDS[language]}
        for language, texts in example_prompts(context.models).items()
    }
    about = json.dumps({"models": context.models.names, "examples": examples})
    names = json.dumps(FORM_NAMES)
    store = call_script("...values", f"storeForm({names}, values)")
    restore = call_script("...values", f"restoredForm({names}, values, {about})")
    private: dict[str, Any] = {"api_visibility": "private"}
    for part in form:
        part.change(None, form, None, js=store, **private)
    app.load(None, form, form, js=restore, **private)

    def arrive(tab: Any, prompt: Any, language: Any, request: gr.Request) -> Any:
        message = opening_message(context, context.sessions.resume(request, tab), prompt, language)
        return gr.skip() if message is None else message

    tab, prompt = gr.Textbox(visible=False), gr.Textbox(visible=False)  # filled by the script
    arrival = [tab, prompt, context.language]
    app.load(arrive, arrival, [parts["picture"]], js=call_script("", "arrival()"), **private, **RUN)


def opening_message(
    context: Context, session: Session, prompt: object, language: object
) -> Mapping[str, Any] | None:
    """Return the message with which a page opens; None for an empty page, or after a run has begun.

    It is that of the last result, else that of the example, which becomes the result.

    Args:
        context: the objects that the tabs share.
        session: the session of the page.
        prompt: the prompt of the page; None for the example of the language.
        language: the language of the page.
    """
    if session.message is None and (examples := context.parts.get("examples")) is not None:
        example = examples.wait(prompt, language, ARRIVAL_SECONDS)
        if example is not None and session.message is None and session.run is None:
            session.result, session.message = example.result, example.message
    if session.run is not None or session.message is None or not has_files(session.message):
        return None
    return session.message
