"""Generate tab: a prompt, settings, and the image made from them, shown while it is generated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from promptweight.weighting import DEFAULT_NAME
from promptweight_ui import validation
from promptweight_ui.components.example_prompts import example_row
from promptweight_ui.components.model_picker import follow_model, model_dropdown, sampler_dropdown
from promptweight_ui.components.picture import picture
from promptweight_ui.components.prompt_box import prompt_box
from promptweight_ui.context import LIGHT, RUN, Context
from promptweight_ui.generation import (
    FORM_NAMES,
    MAX_GUIDANCE,
    WEIGHTINGS,
    GenerateForm,
    check_form,
    stream_generation,
)
from promptweight_ui.runs import closing
from promptweight_ui.tabs import weight_reach


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
            result = picture("generate-picture", "generate-prompt")
            weight_reach.build(context)
    parts.update(picture=result, go=go)

    # Gradio derives the parameters of the API from this signature.
    def generate(
        prompt: Any, negative: Any, model: Any, weighting: Any, sampler: Any, schedule: Any, steps: Any,
        guidance: Any, seed: Any, random: Any, number: Any, width: Any, height: Any, clip_skip: Any,
        refine: Any, language: Any, request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:  # fmt: skip
        form = GenerateForm(
            prompt, negative, model, weighting, sampler, schedule, steps, guidance,
            seed, random, number, width, height, clip_skip, refine,
        )  # fmt: skip
        messages = _messages(context, result, form, language, request)
        for message in closing(messages, language):
            is_running = message["state"] == "running"
            yield (
                message,
                message.get("seed", gr.skip()),
                gr.update(visible=not is_running),
                gr.update(visible=is_running),
                gr.update(visible=is_running and number != 1),
            )

    run = go.click(
        generate,
        [*(parts[name] for name in FORM_NAMES), context.language],
        [result, parts["seed"], go, stop, finish],
        api_name="generate_form",
        api_visibility="undocumented",
        **RUN,
    )
    # An error outside of the function, such as a lost connection, restores the buttons, too.
    run.failure(
        lambda: (gr.update(visible=True), gr.update(visible=False), gr.update(visible=False)),
        None,
        [go, stop, finish],
        api_visibility="private",
        **LIGHT,
    )

    def finish_image(request: gr.Request) -> None:
        if (current := context.sessions.get(request).run) is not None:
            current.finish()

    stop.click(context.stop_run, None, None, api_name="stop", api_visibility="undocumented", **LIGHT)
    finish.click(finish_image, None, None, api_name="finish", api_visibility="undocumented", **LIGHT)


def _messages(
    context: Context, component: Any, form: GenerateForm, language: Any, request: gr.Request
) -> Iterator[dict[str, Any]]:
    """Yield the messages of a run for the picture component, each with the seed of the first image."""
    call = check_form(context, form, language)
    for message in stream_generation(context, component, call, request, refine=form.refine is True):
        yield {**message, "seed": call.options.seed}


def _prompts(context: Context) -> None:
    context.parts["prompt"] = prompt_box(
        context,
        "generate-prompt",
        {"label": "generate_prompt", "placeholder": "generate_prompt_hint"},
        lines=3,
        max_lines=12,
    )
    example_row(context, "generate-prompt")
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
    with gr.Group():
        parts["weighting"] = make(
            gr.Dropdown,
            {"label": "generate_weighting", "info": "generate_weighting_info"},
            {name: f"generate_weighting_{text_key(name)}" for name in WEIGHTINGS},
            value=DEFAULT_NAME,
            allow_custom_value=True,
            elem_id="generate-weighting",
            min_width=180,
        )
        with gr.Row():
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
            maximum=MAX_GUIDANCE,
            step=0.1,
            value=models.facts(models.names[0]).guidance,
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
                # A gr.Number without a value becomes 0 when the accordion is opened.
                parts[side] = make(
                    gr.Textbox,
                    {"label": f"generate_{side}", "placeholder": "generate_size_hint"},
                    max_lines=1,
                    elem_id=f"generate-{side}",
                    min_width=120,
                )
        parts["clip_skip"] = make(
            gr.Slider,
            {"label": "generate_clip_skip", "info": "generate_clip_skip_info"},
            minimum=0,
            maximum=validation.MAX_CLIP_SKIP,
            step=1,
            value=0,
        )
        parts["refine"] = make(
            gr.Checkbox, {"label": "generate_refine", "info": "generate_refine_info"}, value=True
        )
    follow_model(context)


def text_key(name: str) -> str:
    """Return the name of a weighting as the keys of the texts hold it."""
    return name.replace("++", "_plus").replace("+", "_").replace("-", "_")
