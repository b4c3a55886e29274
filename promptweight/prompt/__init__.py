"""The prompt language: text in, weighted spans of clean text out. Knows no torch.

>>> parse("um (gato:1.4) vermelho").fragments
[('um ', 1.0), ('gato', 1.4), (' vermelho', 1.0)]
"""

from promptweight.prompt.conversion import convert
from promptweight.prompt.detection import Detection, detect
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
from promptweight.prompt.parser import DIALECTS, parse
from promptweight.prompt.timeline import schedule
from promptweight.prompt.weight_editing import nudge
from promptweight.prompt.wildcards import expand

__all__ = [
    "DIALECTS",
    "Conversion",
    "Detection",
    "Diagnostic",
    "Embedding",
    "Lora",
    "Options",
    "Part",
    "Prompt",
    "Span",
    "Swap",
    "convert",
    "detect",
    "expand",
    "nudge",
    "parse",
    "schedule",
]
