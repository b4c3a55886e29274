"""Examples under the prompt box and the words that the model knows, put into the prompt by a click."""

from __future__ import annotations

import gradio as gr

from promptweight_ui.context import Context
from promptweight_ui.i18n import LANGUAGES, strings, texts_with_prefix
from promptweight_ui.models import Models
from promptweight_ui.static_files import mount_script
from promptweight_ui.vocabulary import known_words


def example_prompts(models: Models) -> dict[str, list[str]]:
    """Return the example prompts of the first model by language, the one of the image first.

    Only a model with a list of its words has examples.
    """
    if models.facts(models.names[0]).world is None:
        return {}
    return {
        language: [text for key, text in strings(language).items() if key.startswith("example_")]
        for language in LANGUAGES
    }


def example_row(context: Context, box: str) -> None:
    """Make the examples of the first model, if it has a list of its words.

    Args:
        context: the objects that the tabs share.
        box: the id of the prompt box.
    """
    models = context.models
    prompts = example_prompts(models)
    if not prompts:
        return
    words = {name: known for name in models.names if (known := known_words(models.facts(name).world))}
    gr.HTML(
        html_template='<div class="pw-examples"></div>',
        js_on_load=mount_script("ExamplePrompts", "props"),
        elem_id=f"{box}-examples",
        box=box,
        model=models.names[0],
        prompts=prompts,
        words=words,
        texts=texts_with_prefix("prompt_"),
        apply_default_css=False,
    )
