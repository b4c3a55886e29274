"""Regions tab: words confined to painted regions of the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight_ui import validation
from promptweight_ui.compare.grid import remaining_phrases, span_of
from promptweight_ui.components.picture import picture
from promptweight_ui.context import ARRIVAL, LIGHT, RUN, Context
from promptweight_ui.generation import (
    SHARED,
    GenerateForm,
    check_form,
    single_image_form,
    stream_generation,
)
from promptweight_ui.i18n import encodable, translate
from promptweight_ui.regions.masks import COLORS, apply_regions, color_indices, color_masks
from promptweight_ui.regions.metadata import PaintedRegions
from promptweight_ui.runs import closing

if TYPE_CHECKING:
    from PIL import Image

    from promptweight import Result

SIDE = 512
"""Side of the canvas in pixels."""

BACKGROUND = "#e5e7eb"


def build(context: Context) -> None:
    """Build the tab inside the current Blocks."""
    make, parts = context.make, context.parts
    make(gr.Markdown, {"value": "regions_intro"})
    with gr.Row(elem_classes="pw-columns"):
        with gr.Column(scale=5, min_width=320):
            with gr.Row():
                words = [
                    make(
                        gr.Dropdown,
                        {"label": f"regions_{name}"},
                        choices=[],
                        value=None,
                        allow_custom_value=True,
                        min_width=110,
                        elem_id=f"regions-{name}",
                    )
                    for name in COLORS
                ]
            chosen = gr.State(("", ""))
            note = gr.Markdown(elem_id="regions-note", elem_classes="pw-hint", container=False)
            canvas = make(
                gr.ImageEditor,
                {"label": "regions_canvas"},
                value=canvas_value(),
                type="numpy",
                layers=False,
                transforms=(),
                sources=(),
                brush=gr.Brush(colors=list(COLORS.values()), color_mode="fixed", default_size=70),
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
                    gr.Slider,
                    {"label": "regions_inside", "info": "regions_inside_info"},
                    minimum=1,
                    maximum=30,
                    step=0.5,
                    value=10,
                    min_width=220,
                )
                outside = make(
                    gr.Slider,
                    {"label": "regions_outside", "info": "regions_outside_info"},
                    minimum=0,
                    maximum=1,
                    step=0.01,
                    value=0.05,
                    min_width=220,
                )
            with gr.Row(elem_classes="pw-actions"):
                go = make(
                    gr.Button, {"value": "regions_go"}, variant="primary", elem_id="regions-go", scale=3
                )
                stop = make(
                    gr.Button,
                    {"value": "generate_stop"},
                    variant="stop",
                    elem_id="regions-stop",
                    min_width=120,
                    visible=False,
                )
        with gr.Column(scale=6, min_width=320, elem_classes="pw-result"):
            result = picture("regions-picture", "generate-prompt")

    def generate(request: gr.Request, *values: Any) -> Iterator[Any]:
        shared, (painting, *phrases, strength, rest, language) = values[: len(SHARED)], values[len(SHARED) :]
        form = single_image_form(shared)
        painting_values = (painting, phrases, strength, rest)
        messages = _messages(context, result, form, painting_values, language, request)
        for message in closing(messages, language):
            yield message, gr.update(visible=message["state"] == "running")

    run = go.click(
        generate,
        [*(parts[name] for name in SHARED), canvas, *words, inside, outside, context.language],
        [result, stop],
        api_visibility="private",
        **RUN,
    )
    run.failure(lambda: gr.update(visible=False), None, [stop], api_visibility="private", **LIGHT)
    parts |= {"regions_picture": result, "regions_canvas": canvas, "regions_words": words}
    parts |= {"regions_inside": inside, "regions_outside": outside}

    def last_image(language: Any, request: gr.Request) -> Any:
        last = context.sessions.get(request).result
        if last is None:
            validation.refuse(language, "regions_no_picture")
        return picture_on_canvas(last.images[-1])

    def update_words(prompt: Any, language: Any, before: Any, *present: Any) -> tuple[Any, ...]:
        """Return the phrases of the prompt for every color, the first color's if none has a phrase yet."""
        phrases, values = zip(*remaining_phrases(prompt, present), strict=True)
        known, picked = phrases[0], before if values[0] and values[0] == before[0] else ("", "")
        if known and not any(values):
            span = span_of(prompt, known[0])
            picked = (known[0], "plain" if span is None or span.weight == 1 else "weighted")
            values = (known[0], *values[1:])
        updates = [gr.update(choices=known, value=value) for value in values]
        return picked, _note(picked, language), *updates

    light = {"api_visibility": "private", **LIGHT}
    stop.click(context.stop_run, None, None, **light)
    over.click(last_image, [context.language], [canvas], **light)
    clear.click(lambda: canvas_value(), None, [canvas], **light)
    inputs = [parts["prompt"], context.language, chosen, *words]
    parts["tabs"].select(update_words, inputs, [chosen, note, *words], **light, **ARRIVAL)
    words[0].input(lambda: (("", ""), ""), None, [chosen, note], **light)
    context.language.change(_note, [chosen, context.language], [note], **light)


def _note(picked: tuple[str, str], language: Any) -> str:
    """Return the sentence on a phrase that was chosen for the first color, and whether it has a weight."""
    phrase, kind = picked
    return translate(language, f"regions_chosen_{kind}", word=encodable(phrase)) if phrase else ""


def _check_painting(
    painting: Any, phrases: list[Any], inside: Any, outside: Any, language: Any
) -> tuple[PaintedRegions, dict[str, Any]]:
    """Return the painted regions of the form, and the mask of each phrase."""
    weights = (
        validation.number(language, "regions_inside", inside, 0.01, 1000),
        validation.number(language, "regions_outside", outside, 0, 1000),
    )
    words = [
        validation.text(language, f"regions_{name}", phrase).strip()
        for name, phrase in zip(COLORS, phrases, strict=True)
    ]
    layers = painting.get("layers") if isinstance(painting, dict) else None
    indices = color_indices(layers or [])
    if indices is None:
        validation.refuse(language, "regions_nothing")
    masks = {
        word: mask
        for word, mask in zip(words, color_masks(indices), strict=True)
        if word and mask is not None
    }
    if not masks:
        validation.refuse(language, "regions_nothing")
    used = tuple(word if word in masks else "" for word in words)
    return PaintedRegions(used, indices, *weights), masks


def _messages(
    context: Context,
    component: Any,
    form: GenerateForm,
    painting: tuple[Any, ...],
    language: Any,
    request: gr.Request,
) -> Iterator[dict[str, Any]]:
    """Yield the messages of a run for the picture component."""
    call = check_form(context, form, language)
    canvas, phrases, inside, outside = painting
    painted, masks = _check_painting(canvas, phrases, inside, outside, language)
    prompt = apply_regions(str(call.prompt), masks, painted.inside, painted.outside)
    call = replace(call, prompt=prompt)

    def finish(result: Result) -> Result:
        return replace(result, settings={**result.settings, "regions": painted.record()})

    yield from stream_generation(context, component, call, request, finish=finish)


def picture_on_canvas(image: Image.Image) -> dict[str, Any]:
    """Return the value of the canvas with an image under the paint."""
    background = image.convert("RGB").resize((SIDE, SIDE))
    return {"background": background, "layers": [], "composite": background}


def canvas_value(painted: PaintedRegions | None = None) -> dict[str, Any]:
    """Return the value of the canvas: empty, or with paint."""
    from PIL import Image

    sheet = Image.new("RGB", (SIDE, SIDE), BACKGROUND)
    if painted is None:
        return {"background": sheet, "layers": [], "composite": sheet}
    layer = Image.fromarray(painted.layer(SIDE))
    return {
        "background": sheet,
        "layers": [layer],
        "composite": Image.alpha_composite(sheet.convert("RGBA"), layer),
    }
