"""Generate tab: a prompt, settings, and the image made from them, shown while it is generated."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import gradio as gr

from promptweight.weighting import NORMALIZER_NAMES
from promptweight_ui import validation
from promptweight_ui.components.model_picker import follow_model, model_dropdown, sampler_dropdown
from promptweight_ui.components.picture import finished_message, picture
from promptweight_ui.components.prompt_box import prompt_box
from promptweight_ui.context import GPU, LIGHT, Context
from promptweight_ui.generation import (
    DEFAULT_METHOD,
    FORM_NAMES,
    WEIGHTING_NAMES,
    GenerateCall,
    GenerateForm,
    check_form,
    stream_generation,
)

EXAMPLE = "um (gato:1.4) vermelho persegue um rato cinza"
"""First prompt with the built-in model, whose vocabulary is small."""


def build(context: Context) -> None:
    """Build the tab inside the current Blocks."""
    parts = context.parts
    with gr.Row(elem_classes="pw-columns"):
        with gr.Column(scale=5, min_width=320):
            _prompts(context)
            with gr.Row(elem_classes="pw-actions"):
                go = context.make(
                    gr.Button, {"value": "generate_go"}, variant="primary", elem_id="generate-go", scale=3
                )
                stop, finish = (
                    context.make(
                        gr.Button,
                        {"value": f"generate_{name}"},
                        variant="stop" if name == "stop" else "secondary",
                        elem_id=f"generate-{name}",
                        visible=False,
                        min_width=120,
                    )
                    for name in ("stop", "finish")
                )
            with gr.Column(elem_classes="pw-settings"):
                _settings(context)
        with gr.Column(scale=6, min_width=320, elem_classes="pw-result"):
            status = gr.HTML("", elem_id="generate-status")
            result = picture("generate-picture", "generate-prompt", "generate-status")
    parts.update(picture=result, go=go)

    # Gradio derives the parameters of the API from this signature.
    def generate(
        prompt: Any, negative: Any, model: Any, method: Any, normalizer: Any, sampler: Any, steps: Any,
        guidance: Any, seed: Any, random: Any, number: Any, width: Any, height: Any, refine: Any,
        language: Any, request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:  # fmt: skip
        form = GenerateForm(
            prompt, negative, model, method, normalizer, sampler, steps, guidance,
            seed, random, number, width, height, refine,
        )  # fmt: skip
        call = check_form(context, form, language)
        for message in _messages(context, result, call, refine is True, language, request):
            is_running = message["state"] == "running"
            yield (
                message,
                call.arguments["seed"],
                gr.update(visible=not is_running),
                gr.update(visible=is_running),
                gr.update(visible=is_running and number != 1),
            )

    run = go.click(
        generate,
        [*(parts[name] for name in FORM_NAMES), context.language],
        [result, parts["seed"], go, stop, finish],
        show_progress="minimal",
        show_progress_on=[status],
        api_name="generate",
        **GPU,
    )
    parts["run"] = run
    # The buttons are restored after an error, too.
    run.then(
        lambda: (gr.update(visible=True), gr.update(visible=False), gr.update(visible=False)),
        None,
        [go, stop, finish],
        api_visibility="private",
        **LIGHT,
    )

    def finish_image(request: gr.Request) -> None:
        if (current := context.sessions.get(request).run) is not None:
            current.finish()

    stop.click(context.stop_run, None, None, api_name="stop", **LIGHT)
    finish.click(finish_image, None, None, api_name="finish", **LIGHT)


def _messages(
    context: Context, component: Any, call: GenerateCall, refine: bool, language: Any, request: gr.Request
) -> Iterator[dict[str, Any]]:
    """Yield the messages of a run for the picture component, and store its result."""
    start = monotonic()
    result = yield from stream_generation(context, call, language, request, refine=refine)
    if result.images:
        context.sessions.store_result(context.sessions.get(request), result)
    yield finished_message(component, result, monotonic() - start)


def _prompts(context: Context) -> None:
    context.parts["prompt"] = prompt_box(
        context,
        "generate-prompt",
        {"label": "generate_prompt", "placeholder": "generate_prompt_hint"},
        value=EXAMPLE if context.models.names[0] == "mini" else "",
        lines=3,
        max_lines=12,
    )
    context.parts["negative"] = prompt_box(
        context,
        "generate-negative",
        {"label": "generate_negative", "placeholder": "generate_negative_hint"},
        lines=1,
        max_lines=8,
    )


def _settings(context: Context) -> None:
    parts, models, make = context.parts, context.models, context.make
    model_dropdown(context)
    with gr.Row():
        parts["method"] = make(
            gr.Dropdown,
            {"label": "generate_method", "info": "generate_method_info"},
            {name: f"generate_method_{text_key(name)}" for name in (DEFAULT_METHOD, *WEIGHTING_NAMES)},
            value=DEFAULT_METHOD,
            elem_id="generate-method",
            min_width=180,
        )
        sampler_dropdown(context)
    with gr.Row():
        parts["steps"] = make(
            gr.Slider,
            {"label": "generate_steps"},
            elem_id="generate-steps",
            minimum=1,
            maximum=validation.MAX_STEPS,
            step=1,
            value=25,
            min_width=200,
        )
        parts["guidance"] = make(
            gr.Slider,
            {"label": "generate_guidance"},
            minimum=0,
            maximum=20,
            step=0.1,
            value=models.guidance(models.names[0]),
            min_width=200,
        )
    with gr.Row():
        parts["seed"] = make(
            gr.Number,
            {"label": "generate_seed"},
            value=1,
            precision=0,
            elem_id="generate-seed",
            min_width=120,
        )
        parts["random"] = make(
            gr.Checkbox,
            {"label": "generate_random", "info": "generate_random_info"},
            value=True,
            elem_id="generate-random",
            min_width=120,
        )
        parts["number"] = make(
            gr.Slider,
            {"label": "generate_number"},
            minimum=1,
            maximum=validation.MAX_IMAGES,
            step=1,
            value=1,
            elem_id="generate-number",
            min_width=120,
        )
    with make(gr.Accordion, {"label": "generate_more"}, open=False):
        with gr.Row():
            for side in ("width", "height"):
                parts[side] = make(
                    gr.Number,
                    {"label": f"generate_{side}", "placeholder": "generate_size_hint"},
                    value=None,
                    precision=0,
                    min_width=120,
                )
        parts["normalizer"] = make(
            gr.Dropdown,
            {"label": "generate_normalizer", "info": "generate_normalizer_info"},
            {name: f"generate_normalizer_{text_key(name)}" for name in NORMALIZER_NAMES},
            value="none",
        )
        parts["refine"] = make(
            gr.Checkbox, {"label": "generate_refine", "info": "generate_refine_info"}, value=True
        )
    follow_model(context)


def text_key(name: str) -> str:
    """Return the name of a method or normalizer as the keys of the texts hold it."""
    return name.replace("++", "_plus").replace("+", "_").replace("-", "_")
