"""The lists of models and samplers on the Generate tab, and what changes with the model."""

from __future__ import annotations

from typing import Any

import gradio as gr

from promptweight_ui.context import LIGHT, Context
from promptweight_ui.i18n import say
from promptweight_ui.models import OWN


def models_list(context: Context) -> None:
    """Make the list of models; it is seen where there are several."""
    names = context.models.names
    context.parts["model"] = context.make(
        gr.Dropdown, {"label": "generate_model"}, names, value=names[0], visible=len(names) > 1,
        elem_id="generate-model",
    )  # fmt: skip


def samplers_list(context: Context) -> None:
    """Make the list of samplers, those of all models until `follow_model` has narrowed it."""
    models = context.models
    known = tuple(dict.fromkeys(name for model in models.names for name in models.samplers(model)))
    context.parts["sampler"] = context.make(
        gr.Dropdown, {"label": "generate_sampler", "info": "generate_sampler_info"},
        [(context.text("generate_sampler_own") if name == OWN else name, name) for name in known], value=OWN,
        elem_id="generate-sampler", min_width=180,
    )  # fmt: skip


def follow_model(context: Context) -> None:
    """Let samplers, guidance and token counts follow the model; called when all of them are made."""
    parts, models = context.parts, context.models

    def offer(model: Any, present: Any, language: Any) -> Any:
        """Return the list of samplers for a model, the first of them named in words."""
        offered = models.samplers(model if model in models.names else models.names[0])
        choices = [(say(language, "generate_sampler_own") if name == OWN else name, name) for name in offered]
        return gr.update(choices=choices, value=present if present in offered else OWN)

    def advise(model: Any, guidance: Any) -> Any:
        """Return the guidance that a model's makers advise, in the place of what another's advise."""
        is_advice = guidance in [models.guidance(name) for name in models.names]
        return gr.update(value=models.guidance(model)) if is_advice and model in models.names else gr.update()

    light = {"api_visibility": "private", **LIGHT}
    asked = [parts["model"], parts["sampler"], context.language]
    for event in (parts["model"].change, context.language.change):
        event(offer, asked, [parts["sampler"]], **light)
    parts["model"].input(advise, [parts["model"], parts["guidance"]], [parts["guidance"]], **light)
    script = "(model) => promptweight.prompt.count(model)"
    parts["model"].change(None, [parts["model"]], None, js=script, api_visibility="private")
