"""Prompt box: weights highlighted in place, diagnostics and token counts below, keys that change weights."""

from __future__ import annotations

from typing import Any

import gradio as gr

from promptweight_ui.components import prompt_server
from promptweight_ui.context import Context
from promptweight_ui.i18n import texts_with_prefix
from promptweight_ui.static_files import call_script, mount_script
from promptweight_ui.validation import MAX_CHARACTERS


def prompt_box(context: Context, name: str, texts: dict[str, str], **options: Any) -> Any:
    """Make a prompt box with its report below, and return the box.

    Args:
        context: the objects that the tabs share.
        name: the id of the box; the report has the id `<name>-report`.
        texts: the keys of its texts, as in `Context.make`.
        options: other arguments of `gr.Textbox`.
    """
    box = context.make(
        gr.Textbox, texts, elem_id=name, elem_classes="pw-prompt", max_length=MAX_CHARACTERS, **options
    )

    # The page calls these functions by their names.
    def parse(request: Any) -> dict[str, Any]:
        return prompt_server.parse_for_page(context.models, request)

    def adjust_weight(request: Any) -> dict[str, Any]:
        return prompt_server.adjust_weight_for_page(request)

    gr.HTML(
        html_template='<div class="pw-prompt-report"></div>',
        js_on_load=mount_script("PromptBox", "props", "server"),
        elem_id=f"{name}-report",
        server_functions=[parse, adjust_weight],
        box=name,
        model=context.models.names[0],
        texts=texts_with_prefix("prompt_"),
        apply_default_css=False,
    )
    # A text set by Python raises no event of the text area, only Gradio's own.
    script = call_script("", f"promptBox('{name}')?.refresh()")
    box.change(None, None, None, js=script, api_visibility="private")
    return box
