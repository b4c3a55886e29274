"""Registration of endpoints: signatures, descriptions and errors for clients."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_type_hints

import gradio as gr
from gradio.context import get_blocks_context

from promptweight.errors import PromptweightError
from promptweight.messages import Message, catalog
from promptweight_ui.context import RUN
from promptweight_ui.endpoints.settings import ImageSettings
from promptweight_ui.i18n import encodable, known_language
from promptweight_ui.validation import as_page_error

Language = Annotated[Literal["en", "pt-br"], "Language of warnings and errors."]


@dataclass(frozen=True)
class Caller:
    """The client that calls an endpoint.

    Attributes:
        request: its request.
        progress: tells it the progress, as `gr.Progress` does.
        language: the language of warnings and errors.
    """

    request: gr.Request
    progress: Callable[..., Any]
    language: str

    def translate(self, text: str) -> str:
        """Return a message of the library in the language of the client."""
        if isinstance(text, Message):
            text = text.translated(catalog(self.language))
        return encodable(text)


def add_endpoint(function: Callable[..., Awaitable[Any]]) -> None:
    """Make a function an endpoint of the app that is being built, under the name of the function.

    Its docstring is the description. Each parameter is annotated with its type and description. In place of
    its first parameter, the `Caller`, the endpoint has `language`, and in place of `settings` the fields of
    `ImageSettings`.
    """
    signature = inspect.signature(function, eval_str=True)
    own = [each for name, each in signature.parameters.items() if name not in ("caller", "settings")]
    shared = _image_parameters() if "settings" in signature.parameters else []
    parameters = [*own, *shared, _parameter("language", Language, "en")]
    hidden = [_parameter("request", gr.Request, None)]

    async def call(*values: Any) -> Any:
        named = dict(zip((each.name for each in [*parameters, *hidden]), values, strict=True))
        caller = Caller(named.pop("request"), gr.Progress(), known_language(named.pop("language")))
        if shared:
            named["settings"] = ImageSettings(**{each.name: named.pop(each.name) for each in shared})
        try:
            return await function(caller, **named)
        except Exception as error:
            raise gr.Error(_sentence(caller, error), print_exception=False) from error

    call.__signature__ = signature.replace(parameters=[*parameters, *hidden])  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in [*parameters, *hidden]}
    name = getattr(function, "__name__", "")
    description = " ".join((inspect.getdoc(function) or "").split())
    added = gr.api(
        call, api_name=name, api_description=description, concurrency_limit=RUN["concurrency_limit"]
    )
    _describe(added, parameters)


def _image_parameters() -> list[inspect.Parameter]:
    hints = get_type_hints(ImageSettings, include_extras=True)
    return [_parameter(each.name, hints[each.name], each.default) for each in fields(ImageSettings)]


def _parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)


def _describe(added: Any, parameters: list[inspect.Parameter]) -> None:
    """Give the inputs of an endpoint the names and descriptions of its parameters."""
    blocks = get_blocks_context()
    assert blocks is not None
    endpoint: Any = blocks.fns[added["id"]]
    for component, parameter in zip(endpoint.inputs, parameters, strict=True):
        _, description = get_args(parameter.annotation)
        component.label = parameter.name
        component._api_info = {**_without_null(component._api_info), "additional_description": description}
    (answer,) = endpoint.outputs
    answer.label = "answer"


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type without None: Gradio adds that of a parameter whose default is None."""
    kinds = [each for each in schema.get("oneOf", ()) if each != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 else schema


def _sentence(caller: Caller, error: Exception) -> str:
    """Return the sentence of an error; of an unknown one, the log has the traceback."""
    if isinstance(error, PromptweightError) and error.args:
        return caller.translate(error.args[0])
    return as_page_error(caller.language, error).texts[caller.language]
