"""Lists of models and samplers in the Generate tab, and the settings that follow the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from promptweight_ui.context import LIGHT, Context
from promptweight_ui.i18n import translate
from promptweight_ui.samplers import DEFAULT_SCHEDULE, OWN_SAMPLER
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
    """Make the lists of samplers and of noise schedules, those of all models; `follow_model` narrows them."""
    models = context.models
    samplers = list(dict.fromkeys(name for model in models.names for name in models.samplers(model)))
    every = (models.schedules(model, name) for model in models.names for name in models.samplers(model))
    schedules = dict.fromkeys(schedule for names in every for schedule in names)
    default = context.text("generate_schedule_default")
    context.parts["sampler"] = context.make(
        gr.Dropdown,
        {"label": "generate_sampler"},
        _sampler_choices(samplers, context.text("generate_sampler_own")),
        value=OWN_SAMPLER,
        allow_custom_value=True,  # keeps a restored value until the choices follow
        elem_id="generate-sampler",
        min_width=140,
    )
    context.parts["schedule"] = context.make(
        gr.Dropdown,
        {"label": "generate_schedule"},
        [(default if name == DEFAULT_SCHEDULE else name, name) for name in schedules],
        value=DEFAULT_SCHEDULE,
        allow_custom_value=True,  # keeps a restored value until the choices follow
        elem_id="generate-schedule",
        min_width=120,
    )


def _sampler_choices(names: Sequence[str], own: Any) -> list[tuple[Any, str]]:
    return [(own if name == OWN_SAMPLER else name.removesuffix("Scheduler"), name) for name in names]


def follow_model(context: Context) -> None:
    """Update samplers, schedules, guidance and token counts when the model changes; called once."""
    parts, models = context.parts, context.models

    def known(model: Any) -> str:
        return model if model in models.names else models.names[0]

    def update_choices(choices: list[tuple[Any, str]], present: Any, default: str) -> Any:
        # A value that stays is not sent: meanwhile the page may have restored another one.
        is_offered = present in [value for _, value in choices]
        return gr.update(choices=choices) if is_offered else gr.update(choices=choices, value=default)

    def update_samplers(model: Any, sampler: Any, schedule: Any, language: Any) -> tuple[Any, Any]:
        offered = models.samplers(known(model))
        choices = _sampler_choices(offered, translate(language, "generate_sampler_own"))
        chosen = sampler if sampler in offered else OWN_SAMPLER
        schedules = update_schedules(model, chosen, schedule, language)
        return update_choices(choices, sampler, OWN_SAMPLER), schedules

    def update_schedules(model: Any, sampler: Any, schedule: Any, language: Any) -> Any:
        offered = models.schedules(known(model), str(sampler))
        default = translate(language, "generate_schedule_default")
        choices = [(default if name == DEFAULT_SCHEDULE else name, name) for name in offered]
        return update_choices(choices, schedule, DEFAULT_SCHEDULE)

    def update_guidance(model: Any, guidance: Any) -> Any:
        """Return the default guidance of the model, unless a person has set another value."""
        is_default = guidance in [models.facts(name).guidance for name in models.names]
        if not is_default or model not in models.names:
            return gr.update()
        return gr.update(value=models.facts(model).guidance)

    light = {"api_visibility": "private", **LIGHT}
    inputs = [parts["model"], parts["sampler"], parts["schedule"], context.language]
    for event in (parts["model"].change, context.language.change):
        event(update_samplers, inputs, [parts["sampler"], parts["schedule"]], **light)
    parts["sampler"].change(update_schedules, inputs, [parts["schedule"]], **light)
    parts["model"].input(update_guidance, [parts["model"], parts["guidance"]], [parts["guidance"]], **light)
    script = call_script("model", "selectModel(model)")
    parts["model"].change(None, [parts["model"]], None, js=script, api_visibility="private")
