"""Explore tab: attention in the text encoder and in the denoiser, with the numbers of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import validation
from promptweight_ui.components.map_payload import data_url
from promptweight_ui.context import GPU, LIGHT, Context
from promptweight_ui.explore import attention, text_encoder
from promptweight_ui.explore.attention import Selection
from promptweight_ui.explore.cache import Cache
from promptweight_ui.i18n import texts_with_prefix, translate
from promptweight_ui.runs import RunProgress, follow_run
from promptweight_ui.static_files import mount_script

if TYPE_CHECKING:
    from promptweight.attention import AttentionCapture
    from promptweight_ui.explore.text_encoder import TokenAttention

EXAMPLE = "um astronauta a cavalo"
SHORT_EXAMPLE = "um gato vermelho e um rato azul"
"""First prompt with the built-in model, whose vocabulary is small."""


def build(context: Context) -> None:
    """Build the tab inside the current Blocks."""
    make = context.make
    texts = Cache["TokenAttention"]()
    captures = Cache["AttentionCapture"]()
    make(gr.Markdown, {"value": "explore_intro"})
    with gr.Column(elem_classes="pw-part"):
        make(gr.Markdown, {"value": "explore_text_head"})
        with gr.Row(elem_classes="pw-ask"):
            prompt = make(
                gr.Textbox,
                {"label": "explore_prompt"},
                value=SHORT_EXAMPLE if context.models.names[0] == "mini" else EXAMPLE,
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
        matrix = _component("TextMatrix", "explore-text", lambda request: text_values(texts, request))
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
                min_width=120,
            )
            go = make(
                gr.Button, {"value": "explore_go"}, variant="primary", elem_id="explore-go", min_width=240
            )
        view = _component("AttentionView", "explore-inside", lambda request: layer_values(captures, request))

    def encode_prompt(
        text: Any, name: Any, model: Any, language: Any, request: gr.Request
    ) -> tuple[Any, Any]:
        return _encode(context, texts, text, name, model, language, request)

    def capture(image: Any, language: Any, request: gr.Request) -> Iterator[Any]:
        yield from _messages(context, captures, image, language, request)

    def update_number(request: gr.Request) -> Any:
        result = context.sessions.get(request).result
        count = 1 if result is None else len(result.images)
        return gr.update(visible=count > 1, maximum=count)

    inputs = [prompt, encoder, context.parts["model"], context.language]
    private = {"api_visibility": "private"}
    for event in (encode.click, prompt.submit):
        event(encode_prompt, inputs, [matrix, encoder], show_progress="minimal", **private, **GPU)
    go.click(capture, [number, context.language], [view], show_progress="hidden", **private, **GPU)
    context.parts["tabs"].select(update_number, None, [number], **private, **LIGHT)


def _component(name: str, element_id: str, answer: Callable[[Any], dict[str, Any]]) -> Any:
    """Make a component that requests its values from the server."""

    # The page calls this function by its name.
    def values(request: Any) -> dict[str, Any]:
        return answer(request)

    return gr.HTML(
        value=None,
        html_template='<div class="pw-explore"></div>',
        js_on_load=mount_script(name, "props", "watch", "server"),
        elem_id=element_id,
        server_functions=[values],
        texts=texts_with_prefix("explore_"),
        apply_default_css=False,
    )


def _encode(
    context: Context,
    texts: Cache[TokenAttention],
    text: Any,
    name: Any,
    model: Any,
    language: Any,
    request: gr.Request,
) -> tuple[dict[str, Any], Any]:
    """Return the message of a prompt's self-attention, and the list of encoders."""
    prompt, limit = validation.text(language, "explore_prompt", text), text_encoder.MAX_CHARACTERS
    if len(prompt) > limit:
        label = translate(language, "explore_prompt")
        validation.refuse(language, "error_long", name=label, length=len(prompt), most=limit)
    known = validation.choice(language, "generate_model", model, context.models.names)
    try:
        with context.models.use(known) as pipe:
            encoders = text_encoder.encoder_names(pipe)
            chosen = name if isinstance(name, str) and name in encoders else encoders[0]
            captured = text_encoder.capture_text_attention(pipe, prompt, chosen)
    except PromptweightError as error:
        raise validation.as_gradio_error(language, error) from error
    key = texts.add(captured, captured.nbytes, request.session_hash or "")
    picker = gr.update(choices=encoders, value=chosen, visible=len(encoders) > 1)
    return {"key": key, "about": text_encoder.describe(captured)}, picker


def text_values(texts: Cache[TokenAttention], request: Any) -> dict[str, Any]:
    """Return the attention matrix of `{key, chunk, layer, head}`, or the key of an error's text."""
    if not isinstance(request, dict) or (captured := texts.get(request.get("key"))) is None:
        return {"error": "gone"}
    chunk, layer, head = (request.get(name) for name in ("chunk", "layer", "head"))
    is_valid = all(each is None or type(each) is int for each in (layer, head))
    try:
        if type(chunk) is not int or not is_valid:
            raise IndexError
        return {"matrix": text_encoder.attention_matrix(captured, chunk, layer, head)}
    except IndexError:
        return {"error": "no_such"}


def _messages(
    context: Context, captures: Cache[AttentionCapture], number: Any, language: Any, request: gr.Request
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

    def work(callback: Any) -> AttentionCapture:
        sampler = str(result.settings["sampler"] or result.settings["scheduler"])
        with context.models.use(model, sampler) as pipe:
            return attention.capture_layers(pipe, result, image, callback)

    def describe(progress: RunProgress | None) -> dict[str, Any] | None:
        if progress is None:
            return None
        steps = attention.captured_steps(progress.steps)[-1] + 1
        return {"state": "running", "progress": {"step": progress.step, "steps": steps}}

    yield {"state": "running", "progress": None}
    capture = yield from follow_run(session, language, work, describe)
    if not capture.steps:
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


def layer_values(captures: Cache[AttentionCapture], request: Any) -> dict[str, Any]:
    """Return the values of `{key, layer, head, step, patch, word}`, or the key of an error's text."""
    if not isinstance(request, dict) or (capture := captures.get(request.get("key"))) is None:
        return {"error": "gone"}
    indices = [request.get(each.name) for each in fields(Selection)]
    try:
        integers = [index for index in indices if type(index) is int]
        if len(integers) < len(indices):
            raise IndexError
        return attention.selection_values(capture, Selection(*integers))
    except IndexError:
        return {"error": "no_such"}
