"""The Explore tab: attention itself, in the text encoder and in the picture, with the model's own numbers."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import validation
from promptweight_ui.components.map_payload import data_url
from promptweight_ui.context import GPU, LIGHT, Context
from promptweight_ui.explore import attention, text_encoder
from promptweight_ui.explore.attention import Place
from promptweight_ui.explore.cache import Kept
from promptweight_ui.i18n import prefixed, say
from promptweight_ui.runs import News, followed

if TYPE_CHECKING:
    from promptweight.attention import AttentionCapture
    from promptweight_ui.explore.text_encoder import ReadText

EXAMPLE = "um astronauta a cavalo"
SHORT_EXAMPLE = "um gato vermelho e um rato azul"
"""With the built-in model, which knows few words."""


def build(context: Context) -> None:
    """Build the tab inside the present Blocks."""
    make = context.make
    texts = Kept["ReadText"]()
    insides = Kept["Inside"]()
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
                max_length=text_encoder.MOST_CHARACTERS,
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
            read = make(gr.Button, {"value": "explore_read"}, elem_id="explore-read", min_width=140)
        reading = _shown("text", "explore-text", [lambda asked: _look_at_text(texts, asked)])
    with gr.Column(elem_classes="pw-part"):
        make(gr.Markdown, {"value": "explore_inside_head"})
        with gr.Row(elem_classes="pw-ask"):
            number = make(
                gr.Number, {"label": "explore_number"}, value=1, precision=0, minimum=1, visible=False,
                min_width=120,
            )  # fmt: skip
            go = make(
                gr.Button, {"value": "explore_go"}, variant="primary", elem_id="explore-go", min_width=240
            )
        inside = _shown("picture", "explore-inside", [lambda asked: _look_inside(insides, asked)])

    def read_text(asked: Any, named: Any, model: Any, language: Any, request: gr.Request) -> tuple[Any, Any]:
        return _read_text(context, texts, asked, named, model, language, request)

    def look_in(wanted: Any, language: Any, request: gr.Request) -> Iterator[Any]:
        yield from _messages(context, insides, wanted, language, request)

    def entered(request: gr.Request) -> Any:
        result = context.sessions.of(request).result
        several = 1 if result is None else len(result.images)
        return gr.update(visible=several > 1, maximum=several)

    asked = [prompt, encoder, context.parts["model"], context.language]
    for event in (read.click, prompt.submit):
        event(
            read_text,
            asked,
            [reading, encoder],
            show_progress="minimal",
            api_visibility="private",
            **GPU,
        )
    go.click(
        look_in,
        [number, context.language],
        [inside],
        show_progress="hidden",
        api_visibility="private",
        **GPU,
    )
    context.parts["tabs"].select(entered, None, [number], api_visibility="private", **LIGHT)


def _shown(part: str, name: str, functions: list[Any]) -> Any:
    """Make what the page draws by itself, asking `look` for numbers."""
    from promptweight.render import colormap_table

    functions[0].__name__ = "look"
    return gr.HTML(
        value=None,
        html_template='<div class="pw-explore"></div>',
        js_on_load=f"promptweight.explore.{part}.mount(element, props, watch, server)",
        elem_id=name,
        server_functions=functions,
        texts=prefixed("explore_"),
        colors=b64encode(colormap_table("inferno").tobytes()).decode("ascii"),
        apply_default_css=False,
    )


def _read_text(
    context: Context,
    texts: Kept[ReadText],
    asked: Any,
    named: Any,
    model: Any,
    language: Any,
    request: gr.Request,
) -> tuple[dict[str, Any], Any]:
    prompt, most = validation.text(language, "explore_prompt", asked), text_encoder.MOST_CHARACTERS
    if len(prompt) > most:
        named_so = say(language, "explore_prompt")
        validation.refuse(language, "error_long", name=named_so, length=len(prompt), most=most)
    name = validation.choice(language, "generate_model", model, context.models.names)
    try:
        with context.models.use(name) as pipe:
            encoders = text_encoder.encoders_of(pipe)
            chosen = named if isinstance(named, str) and named in encoders else encoders[0]
            read = text_encoder.read_text(pipe, prompt, chosen)
    except PromptweightError as error:
        raise validation.refused(language, error) from error
    key = texts.add(read, read.nbytes, request.session_hash or "")
    picker = gr.update(choices=encoders, value=chosen, visible=len(encoders) > 1)
    return {"key": key, "about": text_encoder.about(read)}, picker


def _look_at_text(texts: Kept[ReadText], asked: Any) -> dict[str, Any]:
    if not isinstance(asked, dict) or (read := texts.get(asked.get("key"))) is None:
        return {"error": "gone"}
    chunk, layer, head = (asked.get(name) for name in ("chunk", "layer", "head"))
    is_valid = all(each is None or type(each) is int for each in (layer, head))
    try:
        if type(chunk) is not int or not is_valid:
            raise IndexError
        return {"matrix": text_encoder.look(read, chunk, layer, head)}
    except IndexError:
        return {"error": "no_such"}


def _messages(
    context: Context, insides: Kept[AttentionCapture], wanted: Any, language: Any, request: gr.Request
) -> Iterator[dict[str, Any]]:
    """Yield the messages of looking into a picture of the session's last result."""
    result = context.sessions.of(request).result
    if result is None:
        validation.refuse(language, "explore_nothing")
    image = validation.whole(language, "explore_number", wanted, 1, len(result.images)) - 1
    made_by = str(result.settings["model"])
    model = next((name for name in context.models.names if name in (made_by, Path(made_by).name)), None)
    if model is None:
        validation.refuse(language, "explore_other_model", name=Path(made_by).name)

    def work(callback: Any) -> AttentionCapture:
        sampler = str(result.settings["sampler"] or result.settings["scheduler"])
        with context.models.use(model, sampler) as pipe:
            return attention.look_inside(pipe, result, image, callback)

    def tell(news: News | None) -> dict[str, Any] | None:
        if news is None:
            return None
        steps = attention.looked_at(news.steps)[-1] + 1
        return {"state": "running", "progress": {"step": news.step, "steps": steps}}

    yield {"state": "running", "progress": None}
    inside = yield from followed(context, request, language, work, tell)
    if not inside.steps:
        yield {"state": "empty"}
        return
    yield {
        "state": "ready",
        "key": insides.add(inside, inside.nbytes, request.session_hash or ""),
        "about": attention.about(inside),
        "joined": len(result.prompt.parts) > 1,
        "steps": result.settings["num_inference_steps"],
        "image": {"src": data_url(result.images[image])},
    }


def _look_inside(insides: Kept[AttentionCapture], asked: Any) -> dict[str, Any]:
    if not isinstance(asked, dict) or (inside := insides.get(asked.get("key"))) is None:
        return {"error": "gone"}
    places = [asked.get(name) for name in Place.__dataclass_fields__]
    try:
        known = [place for place in places if type(place) is int]
        if len(known) < len(places):
            raise IndexError
        return attention.look(inside, Place(*known))
    except IndexError:
        return {"error": "no_such"}
