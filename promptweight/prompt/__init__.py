"""The prompt language: text in, weighted spans of clean text out. Knows no torch.

>>> parse("um (gato:1.4) vermelho").fragments
[('um ', 1.0), ('gato', 1.4), (' vermelho', 1.0)]
"""

from promptweight.prompt.convert import convert
from promptweight.prompt.detect import Detection, detect
from promptweight.prompt.dialects import DIALECTS, parse
from promptweight.prompt.expand import expand
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
from promptweight.prompt.nudge import nudge
from promptweight.prompt.schedule import schedule

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
