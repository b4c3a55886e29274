"""Random seeds of a batch, for rows with the seed -1: different in each folder, equal in each run into it.

A folder keeps one random number from which the seeds of all such rows follow, so a run that is continued, and
processes that share the folder, draw the same images.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from pathlib import Path

from promptweight.atomic_files import write_atomically
from promptweight.errors import FileFormatError
from promptweight.messages import message

_FILE_NAME = ".promptweight.seed"
_MAX_DIGITS = 50


class RandomSeeds:
    """Random seeds of one plan.

    Args:
        folder: the output folder; None for seeds that no other plan has.
        is_preview: whether the folder is left as it is.

    Attributes:
        is_provisional: whether seeds were drawn that the next plan does not have.
    """

    def __init__(self, folder: Path | None = None, *, is_preview: bool = False) -> None:
        self.is_provisional = False
        self._folder, self._is_preview = folder, is_preview
        self._base: str | None = None
        self._repetitions: Counter[tuple[str, str]] = Counter()

    def draw(self, prompt: str, negative_prompt: str) -> int:
        """Return another seed, 0 .. 2³² - 1, for a row with these prompts.

        Raises:
            FileFormatError: the number of the folder is damaged.
            OSError: the folder is not writable.
        """
        if self._base is None:
            self._base = self._read_base()
        repetition = self._repetitions[prompt, negative_prompt]
        self._repetitions[prompt, negative_prompt] += 1
        text = json.dumps([self._base, prompt, negative_prompt, repetition])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

    def _read_base(self) -> str:
        path = None if self._folder is None else self._folder / _FILE_NAME
        if path is None or (self._is_preview and not path.exists()):
            self.is_provisional = True
            return str(secrets.randbits(128))
        path.parent.mkdir(parents=True, exist_ok=True)
        content = f"{secrets.randbits(128)}\n".encode()
        try:
            write_atomically(path, lambda file: file.write(content))
        except FileExistsError:  # an earlier run, or another process
            text = path.read_text(encoding="ascii", errors="replace").strip()
            if not text.isdecimal() or len(text) > _MAX_DIGITS:
                raise FileFormatError(message("seed-file", path=path)) from None
            return text
        return content.decode().strip()
