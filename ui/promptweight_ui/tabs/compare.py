"""Compare tab: a grid of images that differ in one or two settings, with the response of one word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from promptweight_ui import validation
from promptweight_ui.compare import grid
from promptweight_ui.compare.cells import cell_payload, grid_payload
from promptweight_ui.components.picture import SLOW_SECONDS, running_message
from promptweight_ui.context import ARRIVAL, LIGHT, RUN, Context
from promptweight_ui.generation import (
    SHARED,
    GenerateForm,
    check_form,
    saved_images,
    single_image_form,
)
from promptweight_ui.i18n import texts_with_prefix
from promptweight_ui.runs import Run, RunFailedError, RunStatus, closing, follow_run
from promptweight_ui.static_files import mount_script


def build(context: Context) -> None:
    """Build the tab inside the current Blocks."""
    make = context.make
    make(gr.Markdown, {"value": "compare_intro"})
    with gr.Row():
        with gr.Column(scale=2, min_width=220):
            word = make(
                gr.Dropdown,
                {"label": "compare_word", "info": "compare_word_info"},
                choices=[],
                allow_custom_value=True,
                elem_id="compare-word",
            )
        context.parts["compare_word"] = word
        axes = (*_axis(context, "across", "weight"), *_axis(context, "down", "none"))
    with gr.Row(elem_classes="pw-actions"):
        go = make(
            gr.Button,
            {"value": "compare_go"},
            variant="primary",
            elem_id="compare-go",
            scale=3,
            min_width=160,
        )
        pair = make(gr.Button, {"value": "compare_pair"}, elem_id="compare-pair", scale=2, min_width=160)
        stop = make(
            gr.Button,
            {"value": "generate_stop"},
            variant="stop",
            visible=False,
            elem_id="compare-stop",
        )
    result = context.parts["compare_grid"] = _grid_component()

    def run(
        request: gr.Request, shared: tuple[Any, ...], phrase: Any, sides: Any, language: Any
    ) -> Iterator[Any]:
        form = single_image_form(shared)
        for message in closing(_messages(context, result, form, phrase, sides, language, request), language):
            yield message, gr.update(visible=message["state"] == "running")

    def compare(request: gr.Request, *values: Any) -> Iterator[Any]:
        shared, (phrase, *axis_values, language) = values[: len(SHARED)], values[len(SHARED) :]
        sides = [
            (kind, names if kind in grid.NAMED_KINDS else numbers)
            for kind, numbers, names in (axis_values[:3], axis_values[3:])
        ]
        yield from run(request, shared, phrase, sides, language)

    def compare_pair(request: gr.Request, *values: Any) -> Iterator[Any]:
        shared, (phrase, language) = values[: len(SHARED)], values[len(SHARED) :]
        yield from run(request, shared, phrase, [("weight", None), ("none", "")], language)

    shared_parts = [context.parts[name] for name in SHARED]
    events = {"api_visibility": "private", **RUN}
    by_grid = go.click(compare, [*shared_parts, word, *axes, context.language], [result, stop], **events)
    by_pair = pair.click(compare_pair, [*shared_parts, word, context.language], [result, stop], **events)
    for event in (by_grid, by_pair):
        event.failure(lambda: gr.update(visible=False), None, [stop], api_visibility="private", **LIGHT)
    stop.click(context.stop_run, None, None, api_visibility="private", **LIGHT)

    def arrive(prompt: Any, present: Any, request: gr.Request) -> tuple[Any, Any]:
        """Return the phrases of the prompt, and the comparison of the example if it is still the prompt."""
        ((words, value),) = grid.remaining_phrases(prompt, [present])
        session, examples = context.sessions.get(request), context.parts.get("examples")
        dial = None if session.has_compared or examples is None else examples.dial(prompt)
        shown = gr.skip() if dial is None else dial
        return gr.update(choices=words, value=value or (words[0] if words else None)), shown

    inputs = [context.parts["prompt"], word]
    # Gradio forgets the properties of a component that is updated while its tab has never been open.
    tab = context.parts["tab_compare"]
    tab.select(arrive, inputs, [word, result], api_visibility="private", **LIGHT, **ARRIVAL)


def _axis(context: Context, side: str, kind: str) -> tuple[Any, Any, Any]:
    """Make the kind of an axis, its numbers, and its names; either numbers or names are visible."""
    kinds = {"none": "compare_kind_none"} if side == "down" else {}
    kinds |= {each: f"compare_kind_{each}" for each in grid.KINDS}
    names = grid.offered_names(context.models, context.models.names[0])
    with gr.Column(scale=3, min_width=280), gr.Row():
        axis = context.make(
            gr.Dropdown,
            {"label": f"compare_{side}"},
            kinds,
            value=kind,
            elem_id=f"compare-{side}",
            min_width=130,
        )
        numbers = context.make(
            gr.Textbox,
            {"label": "compare_values", "info": "compare_values_info"},
            value=grid.NUMERIC_DEFAULTS.get(kind, ""),
            visible=kind in grid.NUMERIC_DEFAULTS,
            max_lines=1,
            elem_id=f"compare-{side}-values",
            min_width=130,
        )
        chosen = context.make(
            gr.Dropdown,
            {"label": "compare_values"},
            list(dict.fromkeys(name for each in names.values() for name in each)),
            value=[],
            multiselect=True,
            allow_custom_value=True,
            visible=False,
            elem_id=f"compare-{side}-names",
            min_width=180,
        )

    def set_defaults(kind: Any, model: Any, language: Any) -> tuple[Any, Any]:
        """Return the default numbers or names of a kind."""
        if kind in grid.NAMED_KINDS:
            known = model if model in context.models.names else context.models.names[0]
            offered = grid.offered_names(context.models, known)
            default = grid.default_names(kind, offered)
            chosen = gr.update(choices=list(offered[kind]), value=default, visible=True)
            return gr.update(visible=False), chosen
        is_known = kind in grid.NUMERIC_DEFAULTS
        number = grid.default_numbers(kind, language) if is_known else ""
        return gr.update(value=number, visible=is_known), gr.update(visible=False)

    light = {"api_visibility": "private", **LIGHT}
    axis.input(set_defaults, [axis, context.parts["model"], context.language], [numbers, chosen], **light)

    def translate_numbers(text: Any, language: Any) -> Any:
        return grid.translate_defaults(text, language) or gr.skip()

    context.language.change(translate_numbers, [numbers, context.language], [numbers], **light)
    return axis, numbers, chosen


def _grid_component() -> Any:
    return gr.HTML(
        value=None,
        html_template='<div class="pw-compare pw-explore"></div>',
        js_on_load=mount_script("CompareGrid", "props", "watch"),
        elem_id="compare-grid",
        texts=texts_with_prefix("compare_"),
        run_texts=texts_with_prefix("picture_"),
        apply_default_css=False,
    )


def _messages(
    context: Context,
    component: Any,
    form: GenerateForm,
    phrase: Any,
    sides: list[tuple[Any, Any]],
    language: Any,
    request: gr.Request,
) -> Iterator[dict[str, Any]]:
    """Yield the messages of a comparison, each with the cells made so far."""
    context.sessions.get(request).has_compared = True
    call = check_form(context, form, language)
    prompt = str(call.prompt)
    word = validation.text(language, "compare_word", phrase).strip()
    if not word:
        words = grid.prompt_words(prompt)
        word = words[0] if words else validation.refuse(language, "compare_no_word")
    if sides[0][1] is None:
        sides = [("weight", _weight_pair(prompt, word, language)), sides[1]]
    across, down = (_parse_axis(context, call.model, *side, language) for side in sides)
    planned = grid.plan_cells(call, word, across, down, context.models)
    cells: list[dict[str, Any]] = []

    def work(run: Run) -> None:
        from promptweight import generate

        for row, column, cell in planned:
            context.outputs.check_room()
            with context.models.use(cell.model) as pipe, run.interrupting(pipe):
                result = generate(pipe, cell.prompt, options=cell.options, callback=run.after_step)
            if run.is_stopped or not result.images:
                return
            (image,) = saved_images(context, component, result, request)
            cells.append({"row": row, "column": column, **cell_payload(image, result, word)})

    about = grid_payload(word, across, down, len(planned), call.options.seed)
    sent: Any = None

    def describe(status: RunStatus) -> dict[str, Any] | None:
        nonlocal sent
        before, sent = sent, (len(cells), status.queue)
        if sent == before and status.progress is None and status.idle < SLOW_SECONDS:
            return None
        return {**running_message(status), **about, "cells": list(cells)}

    try:
        yield from follow_run(context.models.turns, context.sessions.get(request), work, describe)
    except Exception as error:
        if not cells:
            raise
        raise RunFailedError(error, {**about, "cells": cells}) from error
    yield {"state": "done", **about, "cells": cells}


def _parse_axis(context: Context, model: str, kind: Any, values: Any, language: Any) -> grid.Axis:
    kind = validation.choice(language, "compare_across", kind, ("none", *grid.KINDS))
    if kind not in grid.NAMED_KINDS:
        values = validation.text(language, "compare_values", values)
    elif not isinstance(values, list):
        validation.refuse(language, "error_text", name=validation.TextKey("compare_values"), value=values)
    return grid.parse_axis(kind, values, grid.offered_names(context.models, model), validation.MAX_STEPS)


def _weight_pair(prompt: str, word: str, language: object) -> str:
    """Return the weights of a comparison with and without the word's own weight: 1 and that weight."""
    span = grid.span_of(prompt, word)
    if span is None:
        return "1"
    if span.weight == 1:
        key = "compare_no_weight" if span.options.share is None else "compare_target_share"
        validation.refuse(language, key, word=word)
    return f"1, {span.weight!r}"
