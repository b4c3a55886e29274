"""A parsed prompt as JSON data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from promptweight.prompt.fragments import to_fragments
from promptweight.prompt.model import Prompt


def to_data(prompt: Prompt) -> dict[str, Any]:
    """Return the prompt as JSON data (`json.dumps` writes lone surrogates as escapes).

    >>> from promptweight.prompt import parse
    >>> to_data(parse("um (gato:1.4)").at())["fragments"]
    [{'text': 'um ', 'weight': 1.0}, {'text': 'gato', 'weight': 1.4}]
    """
    return {
        "dialect": prompt.dialect,
        "source": prompt.source,
        "text": prompt.text,
        "fragments": [{"text": text, "weight": weight} for text, weight in to_fragments(prompt)],
        "spans": [{**span._asdict(), "options": asdict(span.options)} for span in prompt.spans],
        "breaks": list(prompt.breaks),
        "parts": [part._asdict() for part in prompt.parts],
        "loras": [asdict(lora) for lora in prompt.loras],
        "embeddings": [asdict(embedding) for embedding in prompt.embeddings],
        "swaps": [asdict(swap) for swap in prompt.swaps],
        "scheduled": prompt.scheduled,
        "diagnostics": [asdict(diagnostic) for diagnostic in prompt.diagnostics],
    }
