"""Tokenizers of a model, loaded without its weights and without torch.

for table in tokenize_prompt(parse("um (gato:1.4) vermelho"), "mini"):
    print(table.encoder, table.chunks, table.truncated_text)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from promptweight.conditioning import PromptTokenizer
from promptweight.errors import ModelError
from promptweight.messages import message
from promptweight.models.files import (
    find_local_folder,
    list_components,
    read_family,
    read_model_index,
    summarize_error,
)
from promptweight.models.loading import silence_libraries

if TYPE_CHECKING:
    from promptweight.conditioning import TokenTable
    from promptweight.prompt import Prompt


class TokenCount(NamedTuple):
    """The number of tokens and chunks of a prompt for one tokenizer, and the text that did not fit."""

    tokenizer: str
    tokens: int
    chunks: int
    truncated_text: str


def tokenize_prompt(
    prompt: Prompt, model: str | os.PathLike[str] = "mini", *, revision: str | None = None
) -> tuple[TokenTable, ...]:
    """Return the token table of `prompt` for each text encoder of `model`.

    Args:
        prompt: the parsed prompt.
        model: the name of a built-in model, a diffusers folder, or a hub id in the local cache, with
            `@revision` if wanted. Nothing is downloaded.
        revision: branch, tag or commit of a hub id.

    Raises:
        ModelError: the model is not on this machine, is of no supported family, or has a damaged tokenizer.
    """
    return tuple(tokenizer.tokenize(prompt) for tokenizer in load_tokenizers(model, revision=revision))


def count_tokens(tokenizers: Iterable[PromptTokenizer], prompt: Prompt) -> list[TokenCount]:
    """Return the token counts of a prompt for each tokenizer."""
    return [
        TokenCount(
            each.kind.tokenizer,
            sum(token.kind == "text" for token in table.tokens),
            table.chunks,
            table.truncated_text,
        )
        for each, table in ((each, each.tokenize(prompt)) for each in tokenizers)
    ]


def load_tokenizers(model: str | os.PathLike[str], *, revision: str | None = None) -> list[PromptTokenizer]:
    """Load the tokenizers of a model's text encoders.

    Arguments and errors are those of `tokenize_prompt`.
    """
    name = os.fspath(model)
    folder = find_local_folder(name, revision)
    index = read_model_index(folder, name)
    family = read_family(index, repr(name))
    components = set(list_components(index))
    with silence_libraries("transformers"):
        return [
            PromptTokenizer(
                kind,
                _load_tokenizer(folder / kind.tokenizer, index[kind.tokenizer]),
                family.max_sequence_length if kind.has_max_sequence_length else None,
            )
            for kind in family.encoders
            if {kind.tokenizer, kind.model} <= components
        ]


def _load_tokenizer(folder: Path, description: list[str]) -> Any:
    """Load the tokenizer of a component folder; `description` is its library and class in the model index."""
    import transformers

    library, class_name = description
    tokenizer_class = getattr(transformers, class_name, None) if library == "transformers" else None
    base = transformers.PreTrainedTokenizerBase
    if not (isinstance(tokenizer_class, type) and issubclass(tokenizer_class, base)):
        raise ModelError(message("tokenizer-class", folder=folder, library=library, class_name=class_name))
    try:
        return tokenizer_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the error depends on the content of the folder
        raise ModelError(
            message("tokenizer-unreadable", folder=folder, reason=summarize_error(error))
        ) from error
