"""The Regions tab: paint where a word should act, and see whether it went there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import validation
from promptweight_ui.compare.grid import still_there
from promptweight_ui.components.picture import finished, picture
from promptweight_ui.context import GPU, LIGHT, Context
from promptweight_ui.generation import SHARED, Call, checked, single, watched
from promptweight_ui.regions import masks
from promptweight_ui.regions.metadata import Painted

SIDE = 512
"""Of the canvas, in pixels."""

NAMES = ("orange", "blue", "green")
"""What the colors of `regions_plan.COLORS` are called in the keys of the texts."""


def build(context: Context) -> None:
    """Build the tab inside the present Blocks."""
    make, parts = context.make, context.parts
    make(gr.Markdown, {"value": "regions_intro"})
    with gr.Row(elem_classes="pw-columns"):
        with gr.Column(scale=5, min_width=320):
            with gr.Row():
                words = [
                    make(
                        gr.Dropdown, {"label": f"regions_{name}"}, choices=[], value=None,
                        allow_custom_value=True, min_width=110, elem_id=f"regions-{name}",
                    )
                    for name in NAMES
                ]  # fmt: skip
            canvas = make(
                gr.ImageEditor,
                {"label": "regions_canvas"},
                value=canvas_of(),
                type="numpy",
                layers=False,
                transforms=(),
                sources=(),
                brush=gr.Brush(colors=list(masks.COLORS), color_mode="fixed", default_size=70),
                eraser=gr.Eraser(default_size=70),
                canvas_size=(SIDE, SIDE),
                fixed_canvas=True,
                height=500,
                elem_id="regions-canvas",
            )
            with gr.Row():
                over = make(gr.Button, {"value": "regions_over"}, size="sm", min_width=140)
                clear = make(gr.Button, {"value": "regions_clear"}, size="sm", min_width=140)
            with gr.Row():
                inside = make(
                    gr.Slider, {"label": "regions_inside", "info": "regions_inside_info"}, minimum=1,
                    maximum=30, step=0.5, value=10, min_width=220,
                )  # fmt: skip
                outside = make(
                    gr.Slider, {"label": "regions_outside", "info": "regions_outside_info"}, minimum=0,
                    maximum=1, step=0.01, value=0.05, min_width=220,
                )  # fmt: skip
            with gr.Row(elem_classes="pw-actions"):
                go = make(
                    gr.Button, {"value": "regions_go"}, variant="primary", elem_id="regions-go", scale=3
                )
                stop = make(
                    gr.Button, {"value": "generate_stop"}, variant="stop", min_width=120, visible=False
                )
        with gr.Column(scale=6, min_width=320):
            status = gr.HTML("", elem_id="regions-status")
            shown = picture("regions-picture", "generate-prompt")

    def generate(request: gr.Request, *given: Any) -> Iterator[Any]:
        shared, (canvas_value, *named, strength, rest, language) = given[: len(SHARED)], given[len(SHARED) :]
        call = checked(context, single(shared), language)
        weights = (
            validation.number(language, "regions_inside", strength, 0.01, 1000),
            validation.number(language, "regions_outside", rest, 0, 1000),
        )
        chosen = [
            validation.text(language, f"regions_{key}", word).strip()
            for key, word in zip(NAMES, named, strict=True)
        ]
        layers = canvas_value.get("layers") if isinstance(canvas_value, dict) else None
        owners = masks.owners_of(layers or [])
        mask_list = [None] * len(NAMES) if owners is None else masks.masks_of(owners)
        places = {
            word: mask for word, mask in zip(chosen, mask_list, strict=True) if word and mask is not None
        }
        if owners is None or not places:
            validation.refuse(language, "regions_nothing")
        try:
            prompt = masks.regional(call.arguments["prompt"], places, *weights)
        except PromptweightError as error:
            raise validation.refused(language, error) from error
        painted = Painted(tuple(word if word in places else "" for word in chosen), owners, *weights)
        call = replace(call, arguments=call.arguments | {"prompt": prompt})
        for message in _messages(context, shown, call, painted, language, request):
            yield message, gr.update(visible=message["state"] == "running")

    base = [parts[name] for name in SHARED]
    run = go.click(
        generate,
        [*base, canvas, *words, inside, outside, context.language],
        [shown, stop],
        show_progress="minimal",
        show_progress_on=[status],
        api_visibility="private",
        **GPU,
    )
    # After an error, too, the button must go.
    run.then(lambda: gr.update(visible=False), None, [stop], api_visibility="private", **LIGHT)
    parts |= {"regions_run": run, "regions_canvas": canvas, "regions_words": words}
    parts |= {"regions_inside": inside, "regions_outside": outside}

    def stop_now(request: gr.Request) -> None:
        if (present := context.sessions.of(request).run) is not None:
            present.stop()

    def last_picture(language: Any, request: gr.Request) -> Any:
        result = context.sessions.of(request).result
        if result is None:
            validation.refuse(language, "regions_no_picture")
        image = result.images[-1].convert("RGB").resize((SIDE, SIDE))
        return {"background": image, "layers": [], "composite": image}

    def entered(prompt: Any, *present: Any) -> list[Any]:
        return [gr.update(choices=known, value=word) for known, word in still_there(prompt, present)]

    light = {"api_visibility": "private", **LIGHT}
    stop.click(stop_now, None, None, **light)
    over.click(last_picture, [context.language], [canvas], **light)
    clear.click(lambda: canvas_of(), None, [canvas], **light)
    parts["tabs"].select(entered, [parts["prompt"], *words], words, **light)


def _messages(
    context: Context, component: Any, call: Call, painted: Painted, language: Any, request: gr.Request
) -> Iterator[dict[str, Any]]:
    """Yield the messages of a run for the picture `component`, and keeps what it made."""
    began = monotonic()
    result = yield from watched(context, call, language, request)
    # That a painted word acts in attention is what was asked for.
    told = tuple(line for line in result.warnings if line.values.get("mode") != "logit")
    settings = {**result.settings, "regions": painted.record()}
    result = replace(result, warnings=told, settings=settings)
    if result.images:
        context.sessions.keep(context.sessions.of(request), result)
    message = finished(component, result, monotonic() - began)
    for word, told_word in zip(result.words, message["maps"]["words"], strict=False):
        told_word["weight"] = masks.written_weight(result.prompt.source, word.start)
    yield message


def canvas_of(painted: Painted | None = None) -> dict[str, Any]:
    """Return what stands on the canvas: an empty sheet, or one with paint on it."""
    from PIL import Image

    sheet = Image.new("RGB", (SIDE, SIDE), "#e5e7eb")
    if painted is None:
        return {"background": sheet, "layers": [], "composite": sheet}
    layer = Image.fromarray(painted.layer(SIDE))
    return {
        "background": sheet,
        "layers": [layer],
        "composite": Image.alpha_composite(sheet.convert("RGBA"), layer),
    }
