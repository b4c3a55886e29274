"""Explore tab: attention in the text encoder and in the denoiser, with the numbers of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight_ui import validation
from promptweight_ui.components.map_payload import data_url
from promptweight_ui.components.picture import running_message
from promptweight_ui.context import ARRIVAL, LIGHT, RUN, Context
from promptweight_ui.explore import attention, guidance, text_encoder, token_vectors, word_maps
from promptweight_ui.explore.attention import Selection
from promptweight_ui.explore.cache import Cache
from promptweight_ui.i18n import texts_with_prefix
from promptweight_ui.runs import Run, RunStatus, closing, follow_run
from promptweight_ui.samplers import use_sampler
from promptweight_ui.static_files import mount_script

if TYPE_CHECKING:
    from promptweight_ui.explore.attention import ImageCapture
    from promptweight_ui.explore.text_encoder import TokenAttention


def build(context: Context) -> None:
    """Build the tab inside the current Blocks."""
    make = context.make
    texts = Cache["TokenAttention"]()
    captures = Cache["ImageCapture"]()
    make(gr.Markdown, {"value": "explore_intro"})
    _static_component(
        "ExploreTour", "explore-tour", texts=texts_with_prefix("tour_"), notebook_texts=_notebook_texts()
    )
    with gr.Column(elem_classes="pw-part"):
        make(gr.Markdown, {"value": "explore_vectors_head"})
        with gr.Row(elem_classes="pw-ask"):
            prompt = make(
                gr.Textbox,
                {"label": "explore_prompt"},
                lines=1,
                max_lines=3,
                max_length=text_encoder.MAX_CHARACTERS,
                elem_id="explore-prompt",
                scale=4,
                min_width=240,
            )
            encoder = make(
                gr.Dropdown,
                {"label": "explore_encoder"},
                choices=["clip"],
                value=None,
                visible=False,
                allow_custom_value=True,
                min_width=120,
            )
            encode = make(gr.Button, {"value": "explore_encode"}, elem_id="explore-encode", min_width=140)
        vectors = _component(
            "TokenVectors", "explore-vectors", {"values": lambda request: vector_values(texts, request)}
        )
    with gr.Column(elem_classes="pw-part"):
        make(gr.Markdown, {"value": "explore_text_head"})
        matrix = _component(
            "TextMatrix", "explore-text", {"values": lambda request: text_values(texts, request)}
        )
    with gr.Column(elem_classes="pw-part"):
        make(gr.Markdown, {"value": "explore_inside_head"})
        with gr.Row(elem_classes="pw-ask"):
            number = make(
                gr.Number,
                {"label": "explore_number"},
                value=1,
                precision=0,
                minimum=1,
                visible=False,
                elem_id="explore-number",
                min_width=120,
            )
            go = make(
                gr.Button, {"value": "explore_go"}, variant="primary", elem_id="explore-go", min_width=240
            )
            stop = make(
                gr.Button,
                {"value": "generate_stop"},
                variant="stop",
                visible=False,
                elem_id="explore-stop",
                min_width=120,
            )
        view = _component(
            "AttentionView",
            "explore-inside",
            {
                "values": lambda request: layer_values(captures, request),
                "wall": lambda request: wall_values(captures, request),
                "film": lambda request: film_values(captures, request),
                "guidance": lambda request: guidance_values(context, captures, request),
            },
        )
    with gr.Column(elem_classes="pw-part", elem_id="explore-limits"):
        make(gr.Markdown, {"value": "explore_limits"})
    with gr.Column(elem_classes="pw-part"):
        make(gr.Markdown, {"value": "explore_notebooks"})
        _static_component("NotebookList", "explore-notebooks", texts=_notebook_texts())

    def encode_prompt(
        text: Any, name: Any, model: Any, language: Any, request: gr.Request
    ) -> Iterator[tuple[Any, Any, Any]]:
        messages = _encode(context, texts, text, name, model, language, request)
        for message in closing(messages, language):
            picker = message.pop("picker", gr.skip())
            yield message, message, picker

    def capture(image: Any, language: Any, request: gr.Request) -> Iterator[Any]:
        for message in closing(_messages(context, captures, image, language, request), language):
            is_running = message["state"] == "running"
            yield message, gr.update(visible=not is_running), gr.update(visible=is_running)

    def update_number(request: gr.Request) -> Any:
        result = context.sessions.get(request).result
        count = 1 if result is None else len(result.images)
        return gr.update(visible=count > 1, maximum=count)

    def arrive(
        text: Any, own: Any, name: Any, model: Any, language: Any, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        """Encode the prompt of the page for a tab that opens for the first time."""
        is_new = isinstance(own, str) and not own.strip() and isinstance(text, str) and text.strip()
        if not is_new or len(text) > text_encoder.MAX_CHARACTERS:
            yield (gr.skip(),) * 4
            return
        shown = text
        for outputs in encode_prompt(text, name, model, language, request):
            yield shown, *outputs
            shown = gr.skip()  # what is typed meanwhile stays

    context.parts["explore_number"] = number
    inputs = [prompt, encoder, context.parts["model"], context.language]
    private = {"api_visibility": "private"}
    for event in (encode.click, prompt.submit):
        event(encode_prompt, inputs, [vectors, matrix, encoder], **private, **RUN)
    context.parts["tab_explore"].select(
        arrive,
        [context.parts["prompt"], *inputs],
        [prompt, vectors, matrix, encoder],
        **private,
        **RUN,
        **ARRIVAL,
    )
    run = go.click(capture, [number, context.language], [view, go, stop], **private, **RUN)
    restore = lambda: (gr.update(visible=True), gr.update(visible=False))  # noqa: E731
    run.failure(restore, None, [go, stop], **private, **LIGHT)
    stop.click(context.stop_run, None, None, **private, **LIGHT)
    context.parts["tabs"].select(update_number, None, [number], **private, **LIGHT, **ARRIVAL)


def _component(name: str, element_id: str, answers: Mapping[str, Callable[[Any], dict[str, Any]]]) -> Any:
    """Make a component that requests values from the server.

    Args:
        name: the component of the page.
        element_id: its id.
        answers: functions of a request by the names under which the page calls them.
    """

    def server_function(function_name: str, answer: Callable[[Any], dict[str, Any]]) -> Any:
        def function(request: Any) -> dict[str, Any]:
            return answer(request)

        function.__name__ = function_name
        return function

    return gr.HTML(
        value=None,
        html_template='<div class="pw-explore"></div>',
        js_on_load=mount_script(name, "props", "watch", "server"),
        elem_id=element_id,
        server_functions=[server_function(*each) for each in answers.items()],
        texts=texts_with_prefix("explore_"),
        run_texts=texts_with_prefix("picture_"),
        apply_default_css=False,
    )


def _static_component(name: str, element_id: str, **props: Any) -> Any:
    """Make a component that requests nothing from the server."""
    return gr.HTML(
        html_template='<div class="pw-explore"></div>',
        js_on_load=mount_script(name, "props"),
        elem_id=element_id,
        apply_default_css=False,
        **props,
    )


def _notebook_texts() -> dict[str, dict[str, str]]:
    """Return the titles of the notebooks by language."""
    return {
        language: {key: text for key, text in texts.items() if key.startswith("notebook_")}
        for language, texts in texts_with_prefix("explore_").items()
    }


def _encode(
    context: Context,
    texts: Cache[TokenAttention],
    text: Any,
    name: Any,
    model: Any,
    language: Any,
    request: gr.Request,
) -> Iterator[dict[str, Any]]:
    """Yield the messages of a prompt's self-attention; the last one has the list of encoders."""
    prompt, limit = validation.text(language, "explore_prompt", text), text_encoder.MAX_CHARACTERS
    if len(prompt) > limit:
        label = validation.TextKey("explore_prompt")
        validation.refuse(language, "error_long", name=label, length=len(prompt), most=limit)
    known = validation.choice(language, "generate_model", model, context.models.names)

    def work(_: Run) -> tuple[list[str], TokenAttention]:
        with context.models.use(known) as pipe:
            encoders = text_encoder.encoder_names(pipe)
            chosen = name if isinstance(name, str) and name in encoders else encoders[0]
            return encoders, text_encoder.capture_text_attention(pipe, prompt, chosen)

    reading = context.sessions.get(request).reading
    outcome = yield from follow_run(context.models.turns, reading, work, running_message)
    if outcome is None:  # another request of the page has replaced this one
        return
    encoders, captured = outcome
    yield {
        "state": "ready",
        "key": texts.add(captured, captured.nbytes, request.session_hash or ""),
        "about": text_encoder.describe(captured),
        "picker": gr.update(choices=encoders, value=captured.encoder, visible=len(encoders) > 1),
    }


def vector_values(texts: Cache[TokenAttention], request: Any) -> dict[str, Any]:
    """Return the vectors of `{key, chunk, token, stage}`, or the key of an error's text."""
    if not isinstance(request, dict) or (captured := texts.get(request.get("key"))) is None:
        return {"error": "gone"}
    try:
        return token_vectors.token_values(captured.vectors, request)
    except IndexError:
        return {"error": "no_such"}


def text_values(texts: Cache[TokenAttention], request: Any) -> dict[str, Any]:
    """Return the attention matrix of `{key, chunk, layer, head, lifted}`, or the key of an error's text."""
    if not isinstance(request, dict) or (captured := texts.get(request.get("key"))) is None:
        return {"error": "gone"}
    chunk, layer, head = (request.get(name) for name in ("chunk", "layer", "head"))
    is_valid = all(each is None or type(each) is int for each in (layer, head))
    try:
        if type(chunk) is not int or not is_valid:
            raise IndexError
        is_masked = request.get("lifted") is not True
        return {"matrix": text_encoder.attention_matrix(captured, chunk, layer, head, is_masked=is_masked)}
    except IndexError:
        return {"error": "no_such"}


def _messages(
    context: Context, captures: Cache[ImageCapture], number: Any, language: Any, request: gr.Request
) -> Iterator[dict[str, Any]]:
    """Yield the messages of a capture of an image of the session's last result."""
    session = context.sessions.get(request)
    result = session.result
    if result is None:
        validation.refuse(language, "explore_nothing")
    image = validation.integer(language, "explore_number", number, 1, len(result.images)) - 1
    source = str(result.settings["model"])
    model = next((name for name in context.models.names if name in (source, Path(source).name)), None)
    if model is None:
        validation.refuse(language, "explore_other_model", name=Path(source).name)

    def work(run: Run) -> ImageCapture:
        sampler = str(result.settings["sampler"] or result.settings["scheduler"])
        with context.models.use(model) as pipe, use_sampler(pipe, sampler), run.interrupting(pipe):
            return replace(attention.capture_layers(pipe, result, image, run.after_step), model=model)

    def describe(status: RunStatus) -> dict[str, Any]:
        message = running_message(status)
        if message["progress"]:
            message["progress"]["steps"] = attention.captured_steps(message["progress"]["steps"])[-1] + 1
        return message

    capture = yield from follow_run(context.models.turns, session, work, describe)
    if capture is None or not capture.steps:
        yield {"state": "empty"}
        return
    yield {
        "state": "ready",
        "key": captures.add(capture, capture.nbytes, request.session_hash or ""),
        "about": attention.describe(capture),
        "joined": len(result.prompt.parts) > 1,
        "steps": result.settings["num_inference_steps"],
        "image": {"src": data_url(result.images[image])},
    }


def layer_values(captures: Cache[ImageCapture], request: Any) -> dict[str, Any]:
    """Return the values of `{key, layer, head, step, patch, word}`, or the key of an error's text."""
    names = [each.name for each in fields(Selection)]
    return _capture_values(
        captures, request, names, lambda capture, *each: attention.selection_values(capture, Selection(*each))
    )


def wall_values(captures: Cache[ImageCapture], request: Any) -> dict[str, Any]:
    """Return the maps of `{key, step, word}` in all layers and heads, or the key of an error's text."""

    def answer(capture: ImageCapture, step: int, word: int) -> dict[str, Any]:
        return {"wall": word_maps.word_wall(capture.attention, step, word)}

    return _capture_values(captures, request, ("step", "word"), answer)


def film_values(captures: Cache[ImageCapture], request: Any) -> dict[str, Any]:
    """Return the maps of `{key, layer, head, step, word}` at all steps, or the key of an error's text."""

    def answer(capture: ImageCapture, *place: int) -> dict[str, Any]:
        return {"frames": word_maps.word_film(capture.attention, *place)}

    return _capture_values(captures, request, ("layer", "head", "step", "word"), answer)


def guidance_values(context: Context, captures: Cache[ImageCapture], request: Any) -> dict[str, Any]:
    """Return the images of `{key, step, scales}`, or the key of an error's text.

    There is one image for each of at most three guidance scales, each from 0 to `guidance.MAX_SCALE`.
    """

    def answer(capture: ImageCapture, step: int) -> dict[str, Any]:
        scales = request.get("scales")
        if step not in capture.guidance or not isinstance(scales, list) or not 0 < len(scales) <= 3:
            raise IndexError("step or scales")
        if not all(type(each) in (int, float) and 0 <= each <= guidance.MAX_SCALE for each in scales):
            raise IndexError("scales")
        with context.models.use(capture.model) as pipe:
            images = [
                guidance.predicted_image(pipe, capture.guidance[step], scale, capture.size)
                for scale in scales
            ]
        return {"images": [image and data_url(image) for image in images]}

    return _capture_values(captures, request, ("step",), answer)


def _capture_values(
    captures: Cache[ImageCapture],
    request: Any,
    names: Iterable[str],
    answer: Callable[..., dict[str, Any]],
) -> dict[str, Any]:
    """Return the answer to the integers of a request by their names, or the key of an error's text."""
    if not isinstance(request, dict) or (capture := captures.get(request.get("key"))) is None:
        return {"error": "gone"}
    values = [request.get(name) for name in names]
    try:
        if not all(type(value) is int for value in values):
            raise IndexError
        return answer(capture, *values)
    except IndexError:
        return {"error": "no_such"}
