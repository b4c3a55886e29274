"""Parsed prompts of a batch, shared by planning, drawing and the check for finished files."""

from __future__ import annotations

import threading
from collections import OrderedDict

from promptweight.prompt import Prompt, parse


class ParsedPrompts:
    """Prompts by their text and dialect; those used least recently are dropped.

    Args:
        max_characters: length of all texts together, above which prompts are dropped. A parsed prompt takes
            about 30 bytes for each character.
    """

    def __init__(self, max_characters: int = 1_000_000) -> None:
        self._max_characters = max_characters
        self._prompts: OrderedDict[tuple[str, str], Prompt] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    def get(self, text: str, dialect: str) -> Prompt:
        """Return a prompt; parse it if it is not there."""
        with self._lock:
            if (text, dialect) in self._prompts:
                self._prompts.move_to_end((text, dialect))
                return self._prompts[text, dialect]
        prompt = parse(text, dialect).at()
        self.add(prompt)
        return prompt

    def add(self, prompt: Prompt) -> None:
        """Add a prompt that is parsed already."""
        key = prompt.source, prompt.dialect
        with self._lock:
            if key not in self._prompts:
                self._characters += len(prompt.source)
            self._prompts[key] = prompt
            while self._characters > self._max_characters and len(self._prompts) > 1:
                (source, _), _ = self._prompts.popitem(last=False)
                self._characters -= len(source)

    def __reduce__(self) -> tuple[type[ParsedPrompts], tuple[int]]:
        """Return a cache without its content: workers on other machines parse what they draw."""
        return ParsedPrompts, (self._max_characters,)
