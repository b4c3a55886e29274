"""The History tab: the pictures of this browser session, and what the file of any picture says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import validation
from promptweight_ui.compare.cells import kept
from promptweight_ui.compare.grid import words_of
from promptweight_ui.context import LIGHT, Context
from promptweight_ui.generation import HIGHEST_SEED, METHODS, MODES, NORMALIZERS, USUAL
from promptweight_ui.history import History, Reading, caption_of, history_of, number, read_file, whole
from promptweight_ui.i18n import say
from promptweight_ui.models import canonical
from promptweight_ui.tabs.regions import canvas_of

SENT = (
    "prompt", "negative", "model", "method", "normalizer", "sampler", "steps", "guidance", "seed", "random",
    "width", "height",
)  # fmt: skip
"""The parts of the Generate tab that are filled."""

MOST_SETTINGS = 60

SETTINGS = """<dl class="pw-settings">
{{#each value}}<dt>{{this.name}}</dt><dd>{{this.value}}</dd>{{/each}}
</dl>"""
"""Double braces are escaped: what files say is shown as text."""


def build(context: Context) -> None:
    """Build the tab inside the present Blocks."""
    make, parts = context.make, context.parts
    history = history_of(context)
    make(gr.Markdown, {"value": "history_intro"})
    with gr.Row(elem_classes="pw-columns"):
        with gr.Column(scale=5, min_width=300):
            gallery = make(
                gr.Gallery, {"label": "history_gallery"}, columns=3, height=520, object_fit="contain",
                buttons=["download", "fullscreen"], interactive=False, elem_id="history-gallery",
            )  # fmt: skip
            upload = make(
                gr.Image, {"label": "history_upload"}, type="filepath", sources=["upload", "clipboard"],
                height=220, elem_id="history-upload",
            )  # fmt: skip
        with gr.Column(scale=6, min_width=300, elem_classes="pw-history"):
            tool = gr.Markdown("", elem_id="history-tool")
            prompt = make(
                gr.Textbox, {"label": "generate_prompt"}, interactive=False, lines=2, max_lines=8,
                buttons=["copy"], elem_id="history-prompt",
            )  # fmt: skip
            negative = make(
                gr.Textbox, {"label": "generate_negative"}, interactive=False, lines=1, max_lines=6,
                buttons=["copy"],
            )  # fmt: skip
            send = make(
                gr.Button, {"value": "history_send"}, variant="primary", interactive=False,
                elem_id="history-send",
            )  # fmt: skip
            paint = make(gr.Button, {"value": "history_paint"}, visible=False, elem_id="history-paint")
            settings = gr.HTML(
                value=[],
                html_template=SETTINGS,
                js_on_load=None,
                elem_id="history-settings",
                apply_default_css=False,
            )
    chosen = gr.State(None, time_to_live=3600)
    painting = [
        parts["regions_canvas"],
        *parts["regions_words"],
        parts["regions_inside"],
        parts["regions_outside"],
    ]
    shown = [tool, prompt, negative, settings, send, paint, chosen]

    def remember(request: gr.Request) -> Any:
        session = context.sessions.of(request)
        if session.result is not None and session.result.images:
            _remember(history, gallery, session.result, request)
        return history.of(request.session_hash or "")

    def of_session(request: gr.Request) -> Any:
        return history.of(request.session_hash or "")

    def select(event: gr.SelectData, language: Any, request: gr.Request) -> tuple[Any, ...]:
        files = history.of(request.session_hash or "")
        index = event.index
        if type(index) is not int or not 0 <= index < len(files):
            validation.refuse(language, "history_gone")
        return _shown(files[index][0], language)

    def uploaded(path: Any, language: Any) -> tuple[Any, ...]:
        return _shown(path, language) if isinstance(path, str) else _nothing("")

    def send_on(reading: Any, model: Any) -> list[Any]:
        if not isinstance(reading, Reading):
            return [gr.update()] * (len(SENT) + 1)
        return [*_sent(context, reading, model), gr.update(selected="generate")]

    def paint_on(reading: Any, model: Any) -> list[Any]:
        if not isinstance(reading, Reading) or reading.painted is None:
            return [gr.update()] * (len(SENT) + 1 + len(painting))
        painted, known = reading.painted, words_of(reading.prompt[: validation.MOST_CHARACTERS])
        words = [gr.update(choices=known, value=word or None) for word in painted.words]
        values = [canvas_of(painted), *words, painted.inside, painted.outside]
        return [*_sent(context, reading, model), gr.update(selected="regions"), *values]

    light = {"api_visibility": "private", **LIGHT}
    for name in ("run", "regions_run"):
        parts[name].then(remember, None, [gallery], **light)
    parts["tabs"].select(of_session, None, [gallery], **light)
    gallery.select(select, [context.language], shown, **light)
    upload.change(uploaded, [upload, context.language], shown, **light)
    filled = [*(parts[name] for name in SENT), parts["tabs"]]
    send.click(send_on, [chosen, parts["model"]], filled, **light)
    paint.click(paint_on, [chosen, parts["model"]], [*filled, *painting], **light)


def _remember(history: History, component: Any, result: Any, request: gr.Request) -> None:
    from dataclasses import replace

    for index, seed in enumerate(result.seeds):
        is_last = index == len(result.seeds) - 1
        one = replace(
            result,
            images=(result.images[index],),
            seeds=(seed,),
            maps=None,
            stopped_after=result.stopped_after if is_last else None,
        )
        history.add(request.session_hash or "", kept(component, one), caption_of(one))


def _shown(path: str, language: object) -> tuple[Any, ...]:
    try:
        reading = read_file(path)
    except (PromptweightError, OSError):
        return _nothing(say(language, "history_damaged"))
    if reading is None:
        return _nothing(say(language, "history_silent"))
    rows = [{"name": name, "value": value} for name, value in reading.settings[:MOST_SETTINGS]]
    told = say(language, "history_made_by", tool=validation.shown(reading.tool))
    painted = gr.update(visible=reading.painted is not None)
    return told, reading.prompt, reading.negative, rows, gr.update(interactive=True), painted, reading


def _nothing(told: str) -> tuple[Any, ...]:
    return told, "", "", [], gr.update(interactive=False), gr.update(visible=False), None


def _sent(context: Context, reading: Reading, present: Any) -> list[Any]:
    """Return what the parts of the Generate tab become; what the file does not tell stays as it is.

    Args:
        context: what the tabs share.
        reading: of the file.
        present: the model that is chosen now, from the browser.
    """
    values, names = reading.values, context.models.names
    named = str(values.get("model", ""))
    models = [name for name in names if name in (named, Path(named).name)]
    model = models[0] if models else present if present in names else names[0]
    sampler = canonical(values.get("sampler"), context.models.samplers(model))
    methods = (USUAL, *METHODS, *(f"attention-{mode}" for mode in MODES))
    seed = whole(values.get("seed"), 0, HIGHEST_SEED)
    found = {
        "prompt": reading.prompt[: validation.MOST_CHARACTERS],
        "negative": reading.negative[: validation.MOST_CHARACTERS],
        "model": models[0] if models else None,
        "method": values.get("method") if values.get("method") in methods else None,
        "normalizer": values.get("normalizer") if values.get("normalizer") in NORMALIZERS else None,
        "sampler": sampler,
        "steps": whole(values.get("steps"), 1, validation.MOST_STEPS),
        "guidance": number(values.get("guidance"), 0, 100),
        "seed": seed,
        "random": None if seed is None else False,
        "width": whole(values.get("width"), 8, validation.LONGEST_SIDE),
        "height": whole(values.get("height"), 8, validation.LONGEST_SIDE),
    }
    return [gr.update() if found[name] is None else gr.update(value=found[name]) for name in SENT]
