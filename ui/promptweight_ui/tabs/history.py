"""History tab: finished images, and the settings in any image file."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import validation
from promptweight_ui.compare.grid import prompt_words
from promptweight_ui.context import ARRIVAL, LIGHT, Context
from promptweight_ui.history import HistoryForm, read_file, shared_history
from promptweight_ui.history_form import FILLED_PARTS, form_values, left_out_texts
from promptweight_ui.i18n import translate, translate_message
from promptweight_ui.tabs.regions import canvas_value

MAX_SETTINGS = 60

SETTINGS_TEMPLATE = """<dl class="pw-settings-list">
{{#each value}}<dt>{{this.name}}</dt><dd>{{this.value}}</dd>{{/each}}
</dl>"""
"""Double braces are escaped, so that values of a file are shown as text."""

NOTES_TEMPLATE = """<ul class="pw-notes">{{#each value}}<li>{{this}}</li>{{/each}}</ul>"""


def build(context: Context) -> None:
    """Build the tab inside the current Blocks."""
    make, parts = context.make, context.parts
    history = shared_history(context)
    make(gr.Markdown, {"value": "history_intro"})
    with gr.Row(elem_classes="pw-columns"):
        with gr.Column(scale=5, min_width=300):
            gallery = make(
                gr.Gallery,
                {"label": "history_gallery"},
                columns=3,
                height=520,
                object_fit="contain",
                buttons=["download", "fullscreen"],
                interactive=False,
                elem_id="history-gallery",
            )
            # A gr.Image fails on a file that it cannot decode before any function of the app is called.
            upload = make(
                gr.File, {"label": "history_upload"}, type="filepath", height=140, elem_id="history-upload"
            )
        with gr.Column(scale=6, min_width=300, elem_classes="pw-history"):
            summary = gr.Markdown("", elem_id="history-tool")
            prompt, negative = (
                make(
                    gr.Textbox,
                    {"label": f"generate_{name}"},
                    interactive=False,
                    lines=lines,
                    max_lines=max_lines,
                    buttons=["copy"],
                    elem_id=f"history-{name}",
                )
                for name, lines, max_lines in (("prompt", 2, 8), ("negative", 1, 6))
            )
            send = make(
                gr.Button,
                {"value": "history_send"},
                variant="primary",
                interactive=False,
                elem_id="history-send",
            )
            notes = _list("history-notes", NOTES_TEMPLATE)
            paint = make(gr.Button, {"value": "history_paint"}, visible=False, elem_id="history-paint")
            settings = _list("history-settings", SETTINGS_TEMPLATE)
    selected = gr.State(None, time_to_live=3600)
    region_parts = [
        parts["regions_canvas"],
        *parts["regions_words"],
        parts["regions_inside"],
        parts["regions_outside"],
    ]
    details = [summary, prompt, negative, settings, notes, send, paint, selected]

    def list_files(request: gr.Request) -> Any:
        return history.files(request.session_hash or "")

    def select(event: gr.SelectData, model: Any, language: Any, request: gr.Request) -> tuple[Any, ...]:
        index = event.index if type(event.index) is int else -1
        path = history.listed(request.session_hash or "", index)
        if path is None:
            return _no_details(translate(language, "history_gone"))
        return _details(context, path, model, language)

    def show_upload(path: Any, model: Any, language: Any) -> tuple[Any, ...]:
        """Show a file and empty its place for the next one."""
        if not isinstance(path, str):
            return (*_no_details(""), None)
        summary, *others = _details(context, path, model, language)
        name = re.sub(r"[^\w. -]", " ", validation.quote(Path(path).name))  # without the marks of Markdown
        return f"{name} · {summary}", *others, None

    def send_to_generate(form: Any, model: Any) -> list[Any]:
        if not isinstance(form, HistoryForm):
            return [gr.update()] * (len(FILLED_PARTS) + 1)
        return [*_updates(context, form, model), gr.update(selected="generate")]

    def send_to_regions(form: Any, model: Any) -> list[Any]:
        if not isinstance(form, HistoryForm) or form.painted is None:
            return [gr.update()] * (len(FILLED_PARTS) + 1 + len(region_parts))
        painted, choices = form.painted, prompt_words(form.prompt[: validation.MAX_CHARACTERS])
        words = [gr.update(choices=choices, value=word or None) for word in painted.words]
        values = [canvas_value(painted), *words, painted.inside, painted.outside]
        return [*_updates(context, form, model), gr.update(selected="regions"), *values]

    light = {"api_visibility": "private", **LIGHT}
    parts["tabs"].select(list_files, None, [gallery], **light, **ARRIVAL)
    inputs = [parts["model"], context.language]
    for shown in (
        gallery.select(select, inputs, details, **light),
        upload.upload(show_upload, [upload, *inputs], [*details, upload], **light),
    ):
        # No fault of a file leaves the settings of another one behind.
        shown.failure(
            lambda language: _no_details(translate(language, "history_damaged")),
            [context.language],
            details,
            **light,
        )
    filled = [*(parts[name] for name in FILLED_PARTS), parts["tabs"]]
    send.click(send_to_generate, [selected, parts["model"]], filled, **light)
    paint.click(send_to_regions, [selected, parts["model"]], [*filled, *region_parts], **light)


def _list(name: str, template: str) -> gr.HTML:
    """Make an empty list of entries that a template shows."""
    return gr.HTML(value=[], html_template=template, js_on_load=None, elem_id=name, apply_default_css=False)


def _details(context: Context, path: str, model: object, language: object) -> tuple[Any, ...]:
    """Return the values of the components that show a file."""
    try:
        form = read_file(path)
        values = None if form is None else form_values(context.models, form, model)
    except PromptweightError as error:
        damaged, note = translate(language, "history_damaged"), error.args[0]
        # The path on the server, and the reason of the library that decodes images, tell a visitor nothing.
        is_told = getattr(note, "code", "") != "image-unreadable"
        return _no_details(f"{damaged} {translate_message(language, note)}" if is_told else damaged)
    except OSError:
        return _no_details(translate(language, "history_damaged"))
    if form is None or values is None:
        return _no_details(translate(language, "history_no_settings"))
    rows = [{"name": name, "value": value} for name, value in form.settings[:MAX_SETTINGS]]
    summary = translate(language, "history_made_by", tool=escape(validation.quote(form.tool)))
    painted = gr.update(visible=form.painted is not None)
    notes = list(left_out_texts(form, values, language))
    return summary, form.prompt, form.negative, rows, notes, gr.update(interactive=True), painted, form


def _no_details(summary: str) -> tuple[Any, ...]:
    return escape(summary), "", "", [], [], gr.update(interactive=False), gr.update(visible=False), None


def _updates(context: Context, form: HistoryForm, model: object) -> list[Any]:
    """Return the updates of `FILLED_PARTS`; a part without a valid value in the file does not change."""
    values = form_values(context.models, form, model).values
    return [gr.update() if values[name] is None else gr.update(value=values[name]) for name in FILLED_PARTS]
