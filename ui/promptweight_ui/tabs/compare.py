"""The Compare tab: one picture in many versions, side by side, with what each did to one word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import validation
from promptweight_ui.compare import grid
from promptweight_ui.compare.cells import cell_of
from promptweight_ui.context import GPU, LIGHT, Context
from promptweight_ui.generation import METHODS, MODES, SHARED, Settings, checked, single
from promptweight_ui.history import caption_of, history_of
from promptweight_ui.i18n import prefixed, say
from promptweight_ui.runs import News, followed

FIRST = {
    "method": ("a1111", "comfy", "attention-logit"),
    "sampler": ("DDIM", "Euler", "Euler a", "DPM++ 2M Karras", "Heun"),
}
"""Names that are chosen at first; of models all are."""

NAMES = (*METHODS, *(f"attention-{mode}" for mode in MODES))


def build(context: Context) -> None:
    """Build the tab inside the present Blocks."""
    make = context.make
    make(gr.Markdown, {"value": "compare_intro"})
    with gr.Row(elem_classes="pw-ask"):
        word = make(
            gr.Dropdown, {"label": "compare_word", "info": "compare_word_info"}, choices=[],
            allow_custom_value=True, elem_id="compare-word", scale=2, min_width=180,
        )  # fmt: skip
        alone = make(gr.Button, {"value": "compare_alone"}, elem_id="compare-alone", scale=2, min_width=240)
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
    shown = _shown()

    base = [context.parts[name] for name in SHARED]

    def compare(request: gr.Request, *given: Any) -> Iterator[Any]:
        shared, (wanted, *asked, language) = given[: len(SHARED)], given[len(SHARED) :]
        pairs = [
            (kind, picked if kind in grid.NAMED else written)
            for kind, written, picked in (asked[:3], asked[3:])
        ]
        for message in _messages(context, shown, single(shared), wanted, pairs, language, request):
            yield message, gr.update(visible=message["state"] == "running")

    def with_and_without(request: gr.Request, *given: Any) -> Iterator[Any]:
        shared, (wanted, language) = given[: len(SHARED)], given[len(SHARED) :]
        pairs = [("weight", None), ("none", "")]
        for message in _messages(context, shown, single(shared), wanted, pairs, language, request):
            yield message, gr.update(visible=message["state"] == "running")

    events = {"show_progress": "hidden", "api_visibility": "private", **GPU}
    by_grid = go.click(
        compare,
        [*base, word, *axes, context.language],
        [shown, stop],
        **events,
    )
    by_pair = alone.click(with_and_without, [*base, word, context.language], [shown, stop], **events)

    for event in (by_grid, by_pair):  # after an error, too, the button must go
        event.then(lambda: gr.update(visible=False), None, [stop], api_visibility="private", **LIGHT)

    def stop_now(request: gr.Request) -> None:
        if (run := context.sessions.of(request).run) is not None:
            run.stop()

    stop.click(stop_now, None, None, api_visibility="private", **LIGHT)

    def entered(prompt: Any, present: Any) -> Any:
        ((words, value),) = grid.still_there(prompt, [present])
        return gr.update(choices=words, value=value or (words[0] if words else None))

    context.parts["tabs"].select(
        entered, [context.parts["prompt"], word], [word], api_visibility="private", **LIGHT
    )


def _axis(context: Context, side: str, kind: str) -> tuple[Any, Any, Any]:
    """Make the choice of what varies, numbers to write, and names to choose; one of the two is seen."""
    kinds = {"none": "compare_kind_none"} if side == "down" else {}
    kinds |= {each: f"compare_kind_{each}" for each in grid.KINDS}
    names = _offered(context, context.models.names[0])
    with gr.Column(min_width=280):
        axis = context.make(
            gr.Dropdown, {"label": f"compare_{side}"}, kinds, value=kind, elem_id=f"compare-{side}"
        )
        values = context.make(
            gr.Textbox,
            {"label": "compare_values", "info": "compare_values_info"},
            value=grid.SUGGESTED.get(kind, ""),
            visible=kind in grid.SUGGESTED,
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

    def suggest(wanted: Any, model: Any) -> tuple[Any, Any]:
        """Return what the two become for a kind that was chosen."""
        if wanted in grid.NAMED:
            first = model if model in context.models.names else context.models.names[0]
            offered = _offered(context, first)[wanted]
            picked = [name for name in FIRST.get(wanted, offered) if name in offered]
            return gr.update(visible=False), gr.update(choices=list(offered), value=picked, visible=True)
        is_known = wanted in grid.SUGGESTED
        number = grid.SUGGESTED[wanted] if is_known else ""
        return gr.update(value=number, visible=is_known), gr.update(visible=False)

    light = {"api_visibility": "private", **LIGHT}
    axis.input(suggest, [axis, context.parts["model"]], [values, chosen], **light)
    return axis, values, chosen


def _offered(context: Context, model: str) -> dict[str, tuple[str, ...]]:
    """Return the names that an axis may have; samplers are those of one model."""
    return {"method": NAMES, "sampler": context.models.samplers(model), "model": context.models.names}


def _shown() -> Any:
    from base64 import b64encode

    from promptweight.render import colormap_table

    return gr.HTML(
        value=None,
        html_template='<div class="pw-compare pw-explore"></div>',
        js_on_load="promptweight.compare.mount(element, props, watch)",
        elem_id="compare-grid",
        texts=prefixed("compare_"),
        colors=b64encode(colormap_table("inferno").tobytes()).decode("ascii"),
        apply_default_css=False,
    )


def _messages(
    context: Context,
    component: Any,
    settings: Settings,
    wanted: Any,
    axes: list[tuple[Any, Any]],
    language: Any,
    request: gr.Request,
) -> Iterator[dict[str, Any]]:
    """Yield what the page shows while the grid fills: the pictures made up to now."""
    call = checked(context, settings, language)
    prompt = call.arguments["prompt"]
    word = validation.text(language, "compare_word", wanted).strip()
    if not word:
        known = grid.words_of(prompt)
        word = known[0] if known else validation.refuse(language, "compare_no_word")
    try:
        if axes[0][1] is None:
            axes = [("weight", _own_and_one(prompt, word, language)), axes[1]]
        across, down = (_read_axis(context, call.model, *axis, language) for axis in axes)
        planned = grid.cells(call, word, across, down, context.models.samplers)
    except PromptweightError as error:
        raise validation.refused(language, error) from error
    made: list[dict[str, Any]] = []

    def work(callback: Any) -> None:
        from promptweight import generate

        for row, column, cell in planned:
            stopped = False

            def follow(progress: Any) -> bool:
                nonlocal stopped
                stopped = callback(progress) is False
                return not stopped

            with context.models.use(cell.model, cell.sampler) as pipe:
                result = generate(model=pipe, callback=follow, **cell.arguments)
            if stopped or not result.images:
                return
            told = cell_of(component, result, word)
            history_of(context).add(request.session_hash or "", told["path"], caption_of(result))
            made.append({"row": row, "column": column, **told})

    about = {
        "word": word,
        "columns": {"kind": across.kind, "values": list(across.values)},
        "rows": {"kind": down.kind, "values": list(down.values)},
        "total": len(planned),
    }
    told = -1

    def tell(news: News | None) -> dict[str, Any] | None:
        nonlocal told
        if news is None and len(made) == told:
            return None
        told = len(made)
        step = None if news is None else {"step": news.step, "steps": news.steps}
        return {"state": "running", **about, "cells": made[:told], "progress": step}

    yield from followed(context, request, language, work, tell)
    yield {"state": "done", **about, "cells": made, "progress": None}


def _read_axis(context: Context, model: str, kind: Any, values: Any, language: Any) -> grid.Axis:
    kind = validation.choice(language, "compare_across", kind, ("none", *grid.KINDS))
    if kind not in grid.NAMED:
        values = validation.text(language, "compare_values", values)
    elif not isinstance(values, list):
        validation.refuse(language, "error_text", name=say(language, "compare_values"), value=values)
    return grid.read_axis(kind, values, _offered(context, model), validation.MOST_STEPS)


def _own_and_one(prompt: str, word: str, language: object) -> str:
    """Return the two weights of "with and without": 1, and the word's own, which must be another."""
    from promptweight.prompt import parse, places

    read = parse(prompt)
    span = next(
        (
            span
            for start, _ in places(read, word)
            for span in read.spans
            if span.clean_start <= start < span.clean_end
        ),
        None,
    )
    if span is not None and span.weight == 1:
        key = "compare_no_weight" if span.options.share is None else "compare_share"
        validation.refuse(language, key, word=word)
    return "1" if span is None else f"1, {span.weight!r}"
