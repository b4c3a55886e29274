"""Compare tab: a grid of images that differ in one or two settings, with the response of one word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import validation
from promptweight_ui.compare import grid
from promptweight_ui.compare.cells import cell_payload
from promptweight_ui.context import GPU, LIGHT, Context
from promptweight_ui.generation import (
    SHARED,
    WEIGHTING_NAMES,
    GenerateForm,
    check_form,
    single_image_form,
)
from promptweight_ui.history import image_caption, shared_history
from promptweight_ui.i18n import texts_with_prefix, translate
from promptweight_ui.runs import RunProgress, follow_run
from promptweight_ui.static_files import mount_script

DEFAULT_NAMES = {
    "method": ("a1111", "comfy", "attention-logit"),
    "sampler": ("DDIM", "Euler", "Euler a", "DPM++ 2M Karras", "Heun"),
}
"""Names selected at first; of models, all are."""


def build(context: Context) -> None:
    """Build the tab inside the current Blocks."""
    make = context.make
    make(gr.Markdown, {"value": "compare_intro"})
    with gr.Row(elem_classes="pw-ask"):
        word = make(
            gr.Dropdown,
            {"label": "compare_word", "info": "compare_word_info"},
            choices=[],
            allow_custom_value=True,
            elem_id="compare-word",
            scale=2,
            min_width=180,
        )
        pair = make(gr.Button, {"value": "compare_pair"}, elem_id="compare-pair", scale=2, min_width=240)
    with gr.Row():
        axes = (*_axis(context, "across", "weight"), *_axis(context, "down", "none"))
    with gr.Row(elem_classes="pw-actions"):
        go = make(gr.Button, {"value": "compare_go"}, variant="primary", elem_id="compare-go", scale=3)
        stop = make(
            gr.Button,
            {"value": "generate_stop"},
            variant="stop",
            visible=False,
            elem_id="compare-stop",
        )
    result = _grid_component()

    def run(
        request: gr.Request, shared: tuple[Any, ...], phrase: Any, sides: Any, language: Any
    ) -> Iterator[Any]:
        form = single_image_form(shared)
        for message in _messages(context, result, form, phrase, sides, language, request):
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
    events = {"show_progress": "hidden", "api_visibility": "private", **GPU}
    by_grid = go.click(compare, [*shared_parts, word, *axes, context.language], [result, stop], **events)
    by_pair = pair.click(compare_pair, [*shared_parts, word, context.language], [result, stop], **events)
    for event in (by_grid, by_pair):  # the button is hidden after an error, too
        event.then(lambda: gr.update(visible=False), None, [stop], api_visibility="private", **LIGHT)
    stop.click(context.stop_run, None, None, api_visibility="private", **LIGHT)

    def update_words(prompt: Any, present: Any) -> Any:
        ((words, value),) = grid.remaining_phrases(prompt, [present])
        return gr.update(choices=words, value=value or (words[0] if words else None))

    context.parts["tabs"].select(
        update_words, [context.parts["prompt"], word], [word], api_visibility="private", **LIGHT
    )


def _axis(context: Context, side: str, kind: str) -> tuple[Any, Any, Any]:
    """Make the kind of an axis, its numbers, and its names; either numbers or names are visible."""
    kinds = {"none": "compare_kind_none"} if side == "down" else {}
    kinds |= {each: f"compare_kind_{each}" for each in grid.KINDS}
    names = _offered(context, context.models.names[0])
    with gr.Column(min_width=280):
        axis = context.make(
            gr.Dropdown, {"label": f"compare_{side}"}, kinds, value=kind, elem_id=f"compare-{side}"
        )
        numbers = context.make(
            gr.Textbox,
            {"label": "compare_values", "info": "compare_values_info"},
            value=grid.NUMERIC_DEFAULTS.get(kind, ""),
            visible=kind in grid.NUMERIC_DEFAULTS,
            max_lines=1,
            elem_id=f"compare-{side}-values",
        )
        chosen = context.make(
            gr.Dropdown,
            {"label": "compare_values"},
            list(dict.fromkeys(name for each in names.values() for name in each)),
            value=[],
            multiselect=True,
            visible=False,
            elem_id=f"compare-{side}-names",
        )

    def set_defaults(kind: Any, model: Any) -> tuple[Any, Any]:
        """Return the default numbers or names of a kind."""
        if kind in grid.NAMED_KINDS:
            known = model if model in context.models.names else context.models.names[0]
            offered = _offered(context, known)[kind]
            default = [name for name in DEFAULT_NAMES.get(kind, offered) if name in offered]
            return gr.update(visible=False), gr.update(choices=list(offered), value=default, visible=True)
        is_known = kind in grid.NUMERIC_DEFAULTS
        number = grid.NUMERIC_DEFAULTS[kind] if is_known else ""
        return gr.update(value=number, visible=is_known), gr.update(visible=False)

    light = {"api_visibility": "private", **LIGHT}
    axis.input(set_defaults, [axis, context.parts["model"]], [numbers, chosen], **light)
    return axis, numbers, chosen


def _offered(context: Context, model: str) -> dict[str, tuple[str, ...]]:
    """Return the valid names of each kind; samplers are those of one model."""
    return {
        "method": WEIGHTING_NAMES,
        "sampler": context.models.samplers(model),
        "model": context.models.names,
    }


def _grid_component() -> Any:
    return gr.HTML(
        value=None,
        html_template='<div class="pw-compare pw-explore"></div>',
        js_on_load=mount_script("CompareGrid", "props", "watch"),
        elem_id="compare-grid",
        texts=texts_with_prefix("compare_"),
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
    call = check_form(context, form, language)
    prompt = call.arguments["prompt"]
    word = validation.text(language, "compare_word", phrase).strip()
    if not word:
        words = grid.prompt_words(prompt)
        word = words[0] if words else validation.refuse(language, "compare_no_word")
    try:
        if sides[0][1] is None:
            sides = [("weight", _weight_pair(prompt, word, language)), sides[1]]
        across, down = (_parse_axis(context, call.model, *side, language) for side in sides)
        planned = grid.plan_cells(call, word, across, down, context.models.samplers)
    except PromptweightError as error:
        raise validation.as_gradio_error(language, error) from error
    cells: list[dict[str, Any]] = []

    def work(callback: Any) -> None:
        from promptweight import generate

        for row, column, cell in planned:
            is_stopped = False

            def follow(progress: Any) -> bool:
                nonlocal is_stopped
                is_stopped = callback(progress) is False
                return not is_stopped

            with context.models.use(cell.model, cell.sampler) as pipe:
                result = generate(model=pipe, callback=follow, **cell.arguments)
            if is_stopped or not result.images:
                return
            payload = cell_payload(component, result, word)
            shared_history(context).add(request.session_hash or "", payload["path"], image_caption(result))
            cells.append({"row": row, "column": column, **payload})

    about = {
        "word": word,
        "columns": {"kind": across.kind, "values": list(across.values)},
        "rows": {"kind": down.kind, "values": list(down.values)},
        "total": len(planned),
    }
    sent = -1

    def describe(progress: RunProgress | None) -> dict[str, Any] | None:
        nonlocal sent
        if progress is None and len(cells) == sent:
            return None
        sent = len(cells)
        step = None if progress is None else {"step": progress.step, "steps": progress.steps}
        return {"state": "running", **about, "cells": cells[:sent], "progress": step}

    yield from follow_run(context.sessions.get(request), language, work, describe)
    yield {"state": "done", **about, "cells": cells, "progress": None}


def _parse_axis(context: Context, model: str, kind: Any, values: Any, language: Any) -> grid.Axis:
    kind = validation.choice(language, "compare_across", kind, ("none", *grid.KINDS))
    if kind not in grid.NAMED_KINDS:
        values = validation.text(language, "compare_values", values)
    elif not isinstance(values, list):
        validation.refuse(language, "error_text", name=translate(language, "compare_values"), value=values)
    return grid.parse_axis(kind, values, _offered(context, model), validation.MAX_STEPS)


def _weight_pair(prompt: str, word: str, language: object) -> str:
    """Return the weights of a comparison with and without the word's own weight: 1 and that weight."""
    from promptweight.prompt import find_phrase, parse

    parsed = parse(prompt).at()
    starts = [start for start, _ in find_phrase(parsed, word)]
    spans = [span for start in starts for span in parsed.spans if span.clean_start <= start < span.clean_end]
    if not spans:
        return "1"
    span = spans[0]
    if span.weight == 1:
        key = "compare_no_weight" if span.options.share is None else "compare_target_share"
        validation.refuse(language, key, word=word)
    return f"1, {span.weight!r}"
