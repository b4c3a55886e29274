"""The Generate tab: a prompt, settings, and the picture that they make, watched while it is made."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import gradio as gr

from promptweight_ui import validation
from promptweight_ui.components.model_picker import follow_model, models_list, samplers_list
from promptweight_ui.components.picture import finished, picture
from promptweight_ui.components.prompt_box import prompt_box
from promptweight_ui.context import GPU, LIGHT, Context
from promptweight_ui.generation import METHODS, MODES, NORMALIZERS, USUAL, Call, Settings, checked, watched

EXAMPLE = "um (gato:1.4) vermelho persegue um rato cinza"
"""What stands in the box at first with the built-in model, which knows few words."""


def build(context: Context) -> None:
    """Build the tab inside the present Blocks."""
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
            shown = picture("generate-picture", "generate-prompt", "generate-status")
    parts.update(picture=shown, go=go)

    def generate(
        prompt: Any, negative: Any, model: Any, method: Any, normalizer: Any, sampler: Any, steps: Any,
        guidance: Any, seed: Any, random: Any, number: Any, width: Any, height: Any, refine: Any,
        language: Any, request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:  # fmt: skip
        settings = Settings(
            prompt, negative, model, method, normalizer, sampler, steps, guidance,
            seed, random, number, width, height, refine,
        )  # fmt: skip
        call = checked(context, settings, language)
        for message in _messages(context, shown, call, refine is True, language, request):
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
        [*(parts[name] for name in Settings.__dataclass_fields__), context.language],
        [shown, parts["seed"], go, stop, finish],
        show_progress="minimal",
        show_progress_on=[status],
        api_name="generate",
        **GPU,
    )
    parts["run"] = run
    # After an error, too, the buttons must be as they were.
    run.then(
        lambda: (gr.update(visible=True), gr.update(visible=False), gr.update(visible=False)),
        None,
        [go, stop, finish],
        api_visibility="private",
        **LIGHT,
    )

    def stop_now(request: gr.Request) -> None:
        if (run := context.sessions.of(request).run) is not None:
            run.stop()

    def finish_this(request: gr.Request) -> None:
        if (run := context.sessions.of(request).run) is not None:
            run.finish()

    stop.click(stop_now, None, None, api_name="stop", **LIGHT)
    finish.click(finish_this, None, None, api_name="finish", **LIGHT)


def _messages(
    context: Context, component: Any, call: Call, refine: bool, language: Any, request: gr.Request
) -> Iterator[dict[str, Any]]:
    """Yield the messages of a run for the picture `component`, and keeps what it made."""
    began = monotonic()
    result = yield from watched(context, call, language, request, refine=refine)
    if result.images:
        context.sessions.keep(context.sessions.of(request), result)
    yield finished(component, result, monotonic() - began)


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
    methods = {name: f"generate_method_{_key(name)}" for name in (USUAL, *METHODS)}
    methods |= {f"attention-{mode}": f"generate_method_attention_{mode}" for mode in MODES}
    models_list(context)
    with gr.Row():
        parts["method"] = make(
            gr.Dropdown, {"label": "generate_method", "info": "generate_method_info"}, methods, value=USUAL,
            elem_id="generate-method", min_width=180,
        )  # fmt: skip
        samplers_list(context)
    with gr.Row():
        parts["steps"] = make(
            gr.Slider, {"label": "generate_steps"},
            elem_id="generate-steps", minimum=1, maximum=validation.MOST_STEPS, step=1, value=25,
            min_width=200,
        )  # fmt: skip
        parts["guidance"] = make(
            gr.Slider, {"label": "generate_guidance"}, minimum=0, maximum=20, step=0.1,
            value=models.guidance(models.names[0]), min_width=200,
        )  # fmt: skip
    with gr.Row():
        parts["seed"] = make(
            gr.Number, {"label": "generate_seed"}, value=1, precision=0, elem_id="generate-seed",
            min_width=120,
        )  # fmt: skip
        parts["random"] = make(
            gr.Checkbox, {"label": "generate_random", "info": "generate_random_info"}, value=True,
            elem_id="generate-random", min_width=120,
        )  # fmt: skip
        parts["number"] = make(
            gr.Slider, {"label": "generate_number"}, minimum=1, maximum=validation.MOST_PICTURES, step=1, value=1,
            elem_id="generate-number", min_width=120,
        )  # fmt: skip
    with make(gr.Accordion, {"label": "generate_more"}, open=False):
        with gr.Row():
            for side in ("width", "height"):
                parts[side] = make(
                    gr.Number, {"label": f"generate_{side}", "placeholder": "generate_size_hint"},
                    value=None, precision=0, min_width=120,
                )  # fmt: skip
        parts["normalizer"] = make(
            gr.Dropdown,
            {"label": "generate_normalizer", "info": "generate_normalizer_info"},
            {name: f"generate_normalizer_{_key(name)}" for name in NORMALIZERS},
            value="none",
        )
        parts["refine"] = make(
            gr.Checkbox, {"label": "generate_refine", "info": "generate_refine_info"}, value=True
        )
    follow_model(context)


def _key(name: str) -> str:
    """Return a method's name as it stands in the keys of the texts."""
    return name.replace("++", "_plus").replace("+", "_").replace("-", "_")
