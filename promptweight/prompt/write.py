"""Writes prompts: a source again with its mistakes put right."""

from __future__ import annotations

from promptweight.prompt.model import Prompt


def repaired(prompt: Prompt) -> str:
    """The source with its mistakes put right; the parity dialects keep what their tool would be given."""
    return prompt.source
