"""History tab: the images of this browser session, and the settings in any image file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight.weighting import NORMALIZER_NAMES
from promptweight_ui import validation
from promptweight_ui.compare.grid import prompt_words
from promptweight_ui.components.picture import save_to_cache
from promptweight_ui.context import LIGHT, Context
from promptweight_ui.generation import DEFAULT_METHOD, MAX_GUIDANCE, MAX_SEED, WEIGHTING_NAMES
from promptweight_ui.history import (
    History,
    HistoryForm,
    image_caption,
    integer,
    number,
    read_file,
    shared_history,
)
from promptweight_ui.i18n import translate
from promptweight_ui.models import find_sampler
from promptweight_ui.tabs.regions import canvas_value

FILLED_PARTS = (
    "prompt", "negative", "model", "method", "normalizer", "sampler", "steps", "guidance", "seed", "random",
    "width", "height",
)  # fmt: skip
"""The parts of the Generate tab that a file fills."""

MAX_SETTINGS = 60

SETTINGS_TEMPLATE = """<dl class="pw-settings-list">
{{#each value}}<dt>{{this.name}}</dt><dd>{{this.value}}</dd>{{/each}}
</dl>"""
"""Double braces are escaped, so that values of a file are shown as text."""


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
            upload = make(
                gr.Image,
                {"label": "history_upload"},
                type="filepath",
                sources=["upload", "clipboard"],
                height=220,
                elem_id="history-upload",
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
            paint = make(gr.Button, {"value": "history_paint"}, visible=False, elem_id="history-paint")
            settings = gr.HTML(
                value=[],
                html_template=SETTINGS_TEMPLATE,
                js_on_load=None,
                elem_id="history-settings",
                apply_default_css=False,
            )
    selected = gr.State(None, time_to_live=3600)
    region_parts = [
        parts["regions_canvas"],
        *parts["regions_words"],
        parts["regions_inside"],
        parts["regions_outside"],
    ]
    details = [summary, prompt, negative, settings, send, paint, selected]

    def add_result(request: gr.Request) -> Any:
        result = context.sessions.get(request).result
        if result is not None and result.images:
            _add_images(history, gallery, result, request)
        return history.files(request.session_hash or "")

    def list_files(request: gr.Request) -> Any:
        return history.files(request.session_hash or "")

    def select(event: gr.SelectData, language: Any, request: gr.Request) -> tuple[Any, ...]:
        files = history.files(request.session_hash or "")
        index = event.index
        if type(index) is not int or not 0 <= index < len(files):
            validation.refuse(language, "history_gone")
        return _details(files[index][0], language)

    def show_upload(path: Any, language: Any) -> tuple[Any, ...]:
        return _details(path, language) if isinstance(path, str) else _no_details("")

    def send_to_generate(form: Any, model: Any) -> list[Any]:
        if not isinstance(form, HistoryForm):
            return [gr.update()] * (len(FILLED_PARTS) + 1)
        return [*_form_updates(context, form, model), gr.update(selected="generate")]

    def send_to_regions(form: Any, model: Any) -> list[Any]:
        if not isinstance(form, HistoryForm) or form.painted is None:
            return [gr.update()] * (len(FILLED_PARTS) + 1 + len(region_parts))
        painted, choices = form.painted, prompt_words(form.prompt[: validation.MAX_CHARACTERS])
        words = [gr.update(choices=choices, value=word or None) for word in painted.words]
        values = [canvas_value(painted), *words, painted.inside, painted.outside]
        return [*_form_updates(context, form, model), gr.update(selected="regions"), *values]

    light = {"api_visibility": "private", **LIGHT}
    for name in ("run", "regions_run"):
        parts[name].then(add_result, None, [gallery], **light)
    parts["tabs"].select(list_files, None, [gallery], **light)
    gallery.select(select, [context.language], details, **light)
    upload.change(show_upload, [upload, context.language], details, **light)
    filled = [*(parts[name] for name in FILLED_PARTS), parts["tabs"]]
    send.click(send_to_generate, [selected, parts["model"]], filled, **light)
    paint.click(send_to_regions, [selected, parts["model"]], [*filled, *region_parts], **light)


def _add_images(history: History, component: Any, result: Any, request: gr.Request) -> None:
    """Add every image of a result to the history, each with its own seed and settings."""
    for index, seed in enumerate(result.seeds):
        is_last = index == len(result.seeds) - 1
        single = replace(
            result,
            images=(result.images[index],),
            seeds=(seed,),
            maps=None,
            stopped_after=result.stopped_after if is_last else None,
        )
        path = save_to_cache(component, single)[0]
        history.add(request.session_hash or "", path, image_caption(single))


def _details(path: str, language: object) -> tuple[Any, ...]:
    """Return the values of the components that show a file."""
    try:
        form = read_file(path)
    except (PromptweightError, OSError):
        return _no_details(translate(language, "history_damaged"))
    if form is None:
        return _no_details(translate(language, "history_no_settings"))
    rows = [{"name": name, "value": value} for name, value in form.settings[:MAX_SETTINGS]]
    summary = translate(language, "history_made_by", tool=validation.quote(form.tool))
    painted = gr.update(visible=form.painted is not None)
    return summary, form.prompt, form.negative, rows, gr.update(interactive=True), painted, form


def _no_details(summary: str) -> tuple[Any, ...]:
    return summary, "", "", [], gr.update(interactive=False), gr.update(visible=False), None


def _form_updates(context: Context, form: HistoryForm, present: Any) -> list[Any]:
    """Return the updates of `FILLED_PARTS`; a part without a valid value in the file does not change.

    Args:
        context: the objects that the tabs share.
        form: the settings of the file.
        present: the selected model, from the browser.
    """
    values, names = form.values, context.models.names
    source = str(values.get("model", ""))
    matches = [name for name in names if name in (source, Path(source).name)]
    model = matches[0] if matches else present if present in names else names[0]
    seed = integer(values.get("seed"), 0, MAX_SEED)
    updates = {
        "prompt": form.prompt[: validation.MAX_CHARACTERS],
        "negative": form.negative[: validation.MAX_CHARACTERS],
        "model": matches[0] if matches else None,
        "method": _one_of(values.get("method"), (DEFAULT_METHOD, *WEIGHTING_NAMES)),
        "normalizer": _one_of(values.get("normalizer"), NORMALIZER_NAMES),
        "sampler": find_sampler(values.get("sampler"), context.models.samplers(model)),
        "steps": integer(values.get("steps"), 1, validation.MAX_STEPS),
        "guidance": number(values.get("guidance"), 0, MAX_GUIDANCE),
        "seed": seed,
        "random": None if seed is None else False,
        "width": integer(values.get("width"), 8, validation.MAX_SIDE),
        "height": integer(values.get("height"), 8, validation.MAX_SIDE),
    }
    return [gr.update() if updates[name] is None else gr.update(value=updates[name]) for name in FILLED_PARTS]


def _one_of(value: Any, choices: tuple[str, ...]) -> Any:
    return value if value in choices else None
