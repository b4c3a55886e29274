"""The prompt language: text in, weighted spans of clean text out. Knows no torch."""

from promptweight.prompt.dialects import DIALECTS, parse
from promptweight.prompt.model import (
    Conversion,
    Diagnostic,
    Embedding,
    Lora,
    Options,
    Part,
    Prompt,
    Span,
    Swap,
)

__all__ = [
    "DIALECTS",
    "Conversion",
    "Diagnostic",
    "Embedding",
    "Lora",
    "Options",
    "Part",
    "Prompt",
    "Span",
    "Swap",
    "parse",
]
