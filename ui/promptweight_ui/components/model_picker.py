"""Lists of models and samplers in the Generate tab, and the settings that follow the model."""

from __future__ import annotations

from typing import Any

import gradio as gr

from promptweight_ui.context import LIGHT, Context
from promptweight_ui.i18n import translate
from promptweight_ui.models import OWN_SAMPLER
from promptweight_ui.static_files import call_script


def model_dropdown(context: Context) -> None:
    """Make the list of models, visible if there are several."""
    names = context.models.names
    context.parts["model"] = context.make(
        gr.Dropdown,
        {"label": "generate_model"},
        names,
        value=names[0],
        visible=len(names) > 1,
        elem_id="generate-model",
    )


def sampler_dropdown(context: Context) -> None:
    """Make the list of samplers, with those of all models; `follow_model` narrows it."""
    models = context.models
    names = dict.fromkeys(name for model in models.names for name in models.samplers(model))
    context.parts["sampler"] = context.make(
        gr.Dropdown,
        {"label": "generate_sampler", "info": "generate_sampler_info"},
        [(context.text("generate_sampler_own") if name == OWN_SAMPLER else name, name) for name in names],
        value=OWN_SAMPLER,
        elem_id="generate-sampler",
        min_width=180,
    )


def follow_model(context: Context) -> None:
    """Update samplers, guidance and token counts when the model changes; called once all are made."""
    parts, models = context.parts, context.models

    def update_samplers(model: Any, present: Any, language: Any) -> Any:
        offered = models.samplers(model if model in models.names else models.names[0])
        own = translate(language, "generate_sampler_own")
        choices = [(own if name == OWN_SAMPLER else name, name) for name in offered]
        return gr.update(choices=choices, value=present if present in offered else OWN_SAMPLER)

    def update_guidance(model: Any, guidance: Any) -> Any:
        """Return the default guidance of the model, unless a person has set another value."""
        is_default = guidance in [models.guidance(name) for name in models.names]
        if not is_default or model not in models.names:
            return gr.update()
        return gr.update(value=models.guidance(model))

    light = {"api_visibility": "private", **LIGHT}
    inputs = [parts["model"], parts["sampler"], context.language]
    for event in (parts["model"].change, context.language.change):
        event(update_samplers, inputs, [parts["sampler"]], **light)
    parts["model"].input(update_guidance, [parts["model"], parts["guidance"]], [parts["guidance"]], **light)
    script = call_script("model", "countTokensFor(model)")
    parts["model"].change(None, [parts["model"]], None, js=script, api_visibility="private")
