"""Prompts in, embeddings out: what a diffusers pipeline takes instead of text.

`tokenize` lays words and weights on the rows of a text encoder; `encode` gives the keyword arguments of a
pipeline; `encode_prompts` gives the token tables and the warnings as well. Only these two need torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from promptweight.conditioning.token_table import Token, TokenTable, Word
from promptweight.conditioning.tokenization import tokenize

if TYPE_CHECKING:
    from promptweight.conditioning.encoding import Encoded as Encoded
    from promptweight.conditioning.encoding import encode as encode
    from promptweight.conditioning.encoding import encode_prompts as encode_prompts

__all__ = ["Encoded", "Token", "TokenTable", "Word", "encode", "encode_prompts", "tokenize"]


def __getattr__(name: str) -> Any:
    if name not in ("Encoded", "encode", "encode_prompts"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("promptweight.conditioning.encoding"), name)
