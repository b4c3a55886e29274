"""How many tokens each prompt of a plan takes, and what does not fit in: by the tokenizers alone.

Neither torch nor weights are loaded. What the families of models say about their text encoders is repeated
here in the few words that counting needs; a test compares both.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from promptweight.conditioning import TokenTable, tokenize
from promptweight.errors import ModelError
from promptweight.models.files import components, first_line, read_index
from promptweight.prompt import Prompt

ONE_CHUNK: Mapping[str, Mapping[str, int | None]] = {
    "StableDiffusion3": {"tokenizer_3": 256},
    "Flux": {"tokenizer": None, "tokenizer_2": 512},
}
"""By how pipelines' names begin: tokenizers whose text encoders read one chunk, and its length in tokens."""


class Count(NamedTuple):
    """The tokens of a prompt for one tokenizer: how many, in how many chunks, and the text that was cut."""

    tokenizer: str
    tokens: int
    chunks: int
    cut: str


class Counter:
    """The tokenizers of a model's folder."""

    def __init__(self, folder: Path) -> None:
        index = read_index(folder, str(folder))
        self._class = str(index["_class_name"])
        there = [name for name in components(index) if name.startswith("tokenizer")]
        there = [name for name in there if name.replace("tokenizer", "text_encoder") in components(index)]
        self._tokenizers = {name: _load(folder / name, str(index[name][1])) for name in there}

    def tables(self, prompt: Prompt) -> list[tuple[str, TokenTable]]:
        """Returns how a prompt falls into tokens and chunks, for each tokenizer by its name."""
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

    def count(self, prompt: Prompt) -> list[Count]:
        """Returns the tokens of a prompt for each tokenizer."""
        return [
            Count(name, sum(token.kind == "text" for token in table.tokens), table.chunks, table.cut)
            for name, table in self.tables(prompt)
        ]


def _load(folder: Path, class_name: str) -> Any:
    try:
        transformers = importlib.import_module("transformers")
        return getattr(transformers, class_name).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the folder's content decides which of many errors this is
        raise ModelError(f"the tokenizer {folder} cannot be read: {first_line(error)}") from error
