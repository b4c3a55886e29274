"""A prompt box: weights highlighted where they stand, remarks and token counts under it, weight keys."""

from __future__ import annotations

from typing import Any

import gradio as gr

from promptweight_ui.components import prompt_server
from promptweight_ui.context import Context
from promptweight_ui.i18n import prefixed
from promptweight_ui.validation import MOST_CHARACTERS


def prompt_box(context: Context, name: str, texts: dict[str, str], **settings: Any) -> Any:
    """Make a prompt box and what stands under it; returns the box.

    Args:
        context: of the app.
        name: the element's id on the page; what stands under it has the id `<name>-reading`.
        texts: the keys of its texts, as in `Context.make`.
        settings: other arguments of `gr.Textbox`.
    """
    box = context.make(
        gr.Textbox, texts, elem_id=name, elem_classes="pw-prompt", max_length=MOST_CHARACTERS, **settings
    )

    def read(asked: Any) -> dict[str, Any]:
        return prompt_server.read(context.models, asked)

    def nudge(asked: Any) -> dict[str, Any]:
        return prompt_server.nudged(asked)

    gr.HTML(
        html_template='<div class="pw-reading"></div>',
        js_on_load="promptweight.prompt.mount(element, props, server)",
        elem_id=f"{name}-reading",
        server_functions=[read, nudge],
        box=name,
        model=context.models.names[0],
        texts=prefixed("prompt_"),
        apply_default_css=False,
    )
    # A text that comes from Python raises no event in the page, only Gradio's own.
    box.change(None, None, None, js=f"() => promptweight.prompt.refresh('{name}')", api_visibility="private")
    return box
