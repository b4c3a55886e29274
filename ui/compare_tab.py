"""The Compare tab: one picture in many versions, side by side, with what each did to one word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import compare_plan, inputs
from promptweight_ui.compare_made import cell_of
from promptweight_ui.context import GPU, LIGHT, Context
from promptweight_ui.following import followed
from promptweight_ui.generating import METHODS, MODES, Settings, checked
from promptweight_ui.history_keep import caption_of, history_of
from promptweight_ui.language import prefixed
from promptweight_ui.runs import News

NAMES = (*METHODS, *(f"attention-{mode}" for mode in MODES))
BASE = tuple(name for name in Settings.__dataclass_fields__ if name not in ("number", "refine"))
"""What is taken over from the Generate tab, in the order of the handlers' arguments."""


def build(context: Context) -> None:
    """Builds the tab inside the present Blocks."""
    make = context.make
    make(gr.Markdown, {"value": "compare_intro"})
    with gr.Row(elem_classes="pw-ask"):
        word = make(
            gr.Dropdown, {"label": "compare_word", "info": "compare_word_info"}, choices=[],
            allow_custom_value=True, elem_id="compare-word", scale=2, min_width=180,
        )  # fmt: skip
        alone = make(gr.Button, {"value": "compare_alone"}, elem_id="compare-alone", scale=2, min_width=240)
    with gr.Row():
        across, across_values = _axis(context, "across", "weight")
        down, down_values = _axis(context, "down", "none")
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

    base = [context.parts[name] for name in BASE]

    def compare(
        prompt: Any, negative: Any, model: Any, method: Any, normalizer: Any, steps: Any, guidance: Any,
        seed: Any, random: Any, width: Any, height: Any, wanted: Any, kind: Any, written: Any, other: Any,
        other_written: Any, language: Any, request: gr.Request,
    ) -> Iterator[Any]:  # fmt: skip
        settings = Settings(
            prompt, negative, model, method, normalizer, steps, guidance,
            seed, random, 1, width, height, False,
        )  # fmt: skip
        axes = [(kind, written), (other, other_written)]
        for message in _messages(context, shown, settings, wanted, axes, language, request):
            yield message, gr.update(visible=message["state"] == "running")

    def with_and_without(
        prompt: Any, negative: Any, model: Any, method: Any, normalizer: Any, steps: Any, guidance: Any,
        seed: Any, random: Any, width: Any, height: Any, wanted: Any, language: Any, request: gr.Request,
    ) -> Iterator[Any]:  # fmt: skip
        settings = Settings(
            prompt, negative, model, method, normalizer, steps, guidance,
            seed, random, 1, width, height, False,
        )  # fmt: skip
        axes = [("weight", None), ("none", "")]
        for message in _messages(context, shown, settings, wanted, axes, language, request):
            yield message, gr.update(visible=message["state"] == "running")

    events = {"show_progress": "hidden", "api_visibility": "private", **GPU}
    by_grid = go.click(
        compare,
        [*base, word, across, across_values, down, down_values, context.language],
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
        readable = isinstance(prompt, str) and len(prompt) <= inputs.MOST_CHARACTERS
        words = compare_plan.words_of(prompt) if readable else []
        value = present if present in words or (present and words and " " in str(present)) else None
        return gr.update(choices=words, value=value or (words[0] if words else None))

    context.parts["tabs"].select(
        entered, [context.parts["prompt"], word], [word], api_visibility="private", **LIGHT
    )


def _axis(context: Context, side: str, kind: str) -> tuple[Any, Any]:
    kinds = {"none": "compare_kind_none"} if side == "down" else {}
    kinds |= {each: f"compare_kind_{each}" for each in compare_plan.KINDS}
    with gr.Column(min_width=280):
        axis = context.make(
            gr.Dropdown, {"label": f"compare_{side}"}, kinds, value=kind, elem_id=f"compare-{side}"
        )
        values = context.make(
            gr.Textbox,
            {"label": "compare_values", "info": "compare_values_info"},
            value=compare_plan.SUGGESTED.get(kind, ""),
            visible=kind != "none",
            max_lines=1,
            elem_id=f"compare-{side}-values",
        )

    def suggest(chosen: Any) -> Any:
        is_known = isinstance(chosen, str) and chosen in compare_plan.SUGGESTED
        return gr.update(value=compare_plan.SUGGESTED[chosen] if is_known else "", visible=is_known)

    axis.input(suggest, [axis], [values], api_visibility="private", **LIGHT)
    return axis, values


def _shown() -> Any:
    from base64 import b64encode

    from promptweight.render.colormaps import table

    return gr.HTML(
        value=None,
        html_template='<div class="pw-compare pw-explore"></div>',
        js_on_load="promptweight.compare.mount(element, props, watch)",
        elem_id="compare-grid",
        texts=prefixed("compare_"),
        colors=b64encode(table("inferno").tobytes()).decode("ascii"),
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
    """Yields what the page shows while the grid fills: the pictures made up to now."""
    model, arguments = checked(context, settings, language)
    word = inputs.text(language, "compare_word", wanted).strip()
    if not word:
        known = compare_plan.words_of(arguments["prompt"])
        word = known[0] if known else inputs.refuse(language, "compare_no_word")
    try:
        if axes[0][1] is None:
            axes = [("weight", _own_and_one(arguments["prompt"], word, language)), axes[1]]
        across, down = (
            compare_plan.read_axis(
                inputs.choice(language, "compare_across", kind, ("none", *compare_plan.KINDS)),
                inputs.text(language, "compare_values", written),
                NAMES,
                inputs.MOST_STEPS,
            )
            for kind, written in axes
        )
        planned = compare_plan.cells(arguments, word, across, down)
    except PromptweightError as error:
        raise inputs.refused(language, error) from error
    made: list[dict[str, Any]] = []

    def work(callback: Any) -> None:
        from promptweight import generate

        with context.models.use(model) as pipe:
            for row, column, changed in planned:
                stopped = False

                def follow(progress: Any) -> bool:
                    nonlocal stopped
                    stopped = callback(progress) is False
                    return not stopped

                result = generate(model=pipe, callback=follow, **changed)
                if stopped or not result.images:
                    return
                cell = cell_of(component, result, word)
                history_of(context).add(request.session_hash or "", cell["path"], caption_of(result))
                made.append({"row": row, "column": column, **cell})

    about = {
        "word": word,
        "columns": {"kind": across.kind, "values": list(across.values)},
        "rows": {"kind": down.kind, "values": list(down.values)},
        "total": len(planned),
    }
    told = -1
    for news in followed(context, request, language, work):
        step = {"step": news.step, "steps": news.steps} if isinstance(news, News) else None
        if len(made) != told or step:
            told = len(made)
            yield {"state": "running", **about, "cells": list(made), "progress": step}
    yield {"state": "done", **about, "cells": list(made), "progress": None}


def _own_and_one(prompt: str, word: str, language: object) -> str:
    """Returns the two weights of "with and without": 1, and the word's own, which must be another."""
    from promptweight.batch.sweep import places
    from promptweight.prompt import parse

    read = parse(prompt)
    weights = [
        span.weight
        for start, _ in places(read, word)
        for span in read.spans
        if span.clean_start <= start < span.clean_end
    ]
    if weights and weights[0] == 1:
        inputs.refuse(language, "compare_no_weight", word=word)
    return f"1, {weights[0]!r}" if weights else "1"
