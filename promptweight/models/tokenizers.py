"""The tokens of a prompt for each text encoder of a model, read with its tokenizers alone, never its weights.

for table in token_tables(parse("um (gato:1.4) vermelho"), "mini"):
    print(table.encoder, table.chunks, table.cut)
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from promptweight.conditioning import TokenTable, tokenize
from promptweight.errors import ModelError
from promptweight.models.files import find_local_folder, list_components, read_model_index, summarize_error
from promptweight.models.loading import silence_libraries
from promptweight.prompt import Prompt

if TYPE_CHECKING:
    from promptweight.conditioning import Family, TextEncoder, TokenTable
    from promptweight.prompt import Prompt


def token_tables(
    prompt: Prompt, model: str | os.PathLike[str] = "mini", *, revision: str | None = None
) -> tuple[TokenTable, ...]:
    """Return how `prompt` falls into tokens and chunks: a table for each text encoder that `model` has.

    Args:
        prompt: the prompt.
        model: the name of a built-in model, a diffusers folder, or a hub id, with `@revision` if one is
            wanted, that is in the local cache. Nothing is downloaded.
        revision: branch, tag or commit of a hub id.

    Raises:
        ModelError: the model is not here, is of no supported family, or has a tokenizer that cannot be read.
    """
    return tuple(encoder.tokenize(prompt) for encoder in text_encoders(model, revision=revision))


def text_encoders(model: str | os.PathLike[str], *, revision: str | None = None) -> list[TextEncoder]:
    """Return a model's text encoders without their weights: good for `tokenize` alone.

    Arguments and errors are those of `token_tables`.
    """
    with silence_libraries():
        import torch

        from promptweight.conditioning import TextEncoder

        name = os.fspath(model)
        folder = find_local_folder(name, revision)
        index = read_model_index(folder, name)
        family = _family_of(index, name)
        return [
            TextEncoder(
                kind,
                tokenizer=_load_tokenizer(folder / kind.tokenizer, index[kind.tokenizer]),
                model=None,
                device=torch.device("cpu"),
                max_length=family.max_sequence_length if kind.takes_length else None,
            )
            for kind in family.encoders
            if {kind.tokenizer, kind.model} <= set(list_components(index))
        ]


def _family_of(index: dict[str, Any], name: str) -> Family:
    from promptweight.conditioning import FAMILIES

    for family in FAMILIES:
        if index["_class_name"] in family.pipelines:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise ModelError(
        f"{name!r} is a {index['_class_name']}, whose prompts cannot be weighted; supported: {known}"
    )


def _load_tokenizer(folder: Path, described: list[str]) -> Any:
    """Return the tokenizer of a component folder; `described` is its library and class in the index."""
    import transformers

    library, class_name = described
    tokenizer_class = getattr(transformers, class_name, None) if library == "transformers" else None
    base = transformers.PreTrainedTokenizerBase
    if not (isinstance(tokenizer_class, type) and issubclass(tokenizer_class, base)):
        raise ModelError(f"{folder} is to be read with {library}.{class_name}, which is no tokenizer")
    try:
        return tokenizer_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the folder's content decides which of many errors this is
        raise ModelError(f"the tokenizer {folder} cannot be read: {summarize_error(error)}") from error


ONE_CHUNK: Mapping[str, Mapping[str, int | None]] = {
    "StableDiffusion3": {"tokenizer_3": 256},
    "Flux": {"tokenizer": None, "tokenizer_2": 512},
}
"""By how pipelines' names begin: tokenizers whose text encoders read one chunk, and its length in tokens."""


class TokenCount(NamedTuple):
    """The tokens of a prompt for one tokenizer: how many, in how many chunks, and the text that was cut."""

    tokenizer: str
    tokens: int
    chunks: int
    cut: str


class Counter:
    """The tokenizers of a model's folder."""

    def __init__(self, folder: Path) -> None:
        index = read_model_index(folder, str(folder))
        self._class = str(index["_class_name"])
        there = [name for name in list_components(index) if name.startswith("tokenizer")]
        there = [name for name in there if name.replace("tokenizer", "text_encoder") in list_components(index)]
        self._tokenizers = {name: _load(folder / name, str(index[name][1])) for name in there}

    def tables(self, prompt: Prompt) -> list[tuple[str, TokenTable]]:
        """Return how a prompt falls into tokens and chunks, for each tokenizer by its name."""
        single = next((each for start, each in ONE_CHUNK.items() if self._class.startswith(start)), {})
        return [
            (
                name,
                tokenize(
                    tokenizer,
                    prompt,
                    encoder=name,
                    max_length=single.get(name),
                    max_chunks=1 if name in single else None,
                ),
            )
            for name, tokenizer in self._tokenizers.items()
        ]

    def count(self, prompt: Prompt) -> list[TokenCount]:
        """Return the tokens of a prompt for each tokenizer."""
        return [
            TokenCount(name, sum(token.kind == "text" for token in table.tokens), table.chunks, table.cut)
            for name, table in self.tables(prompt)
        ]


def _load(folder: Path, class_name: str) -> Any:
    try:
        transformers = importlib.import_module("transformers")
        return getattr(transformers, class_name).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the folder's content decides which of many errors this is
        raise ModelError(f"the tokenizer {folder} cannot be read: {summarize_error(error)}") from error
