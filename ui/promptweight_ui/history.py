"""The pictures of each browser session, and what the file of any picture says about its making."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from promptweight_ui.regions.metadata import Painted, painted_in

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight_ui.context import Context

MOST_SESSIONS = 64
MOST_PICTURES = 200
"""Of one session; the oldest go."""


class History:
    """The files of the pictures that each session made, the newest first."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, list[tuple[str, str]]] = OrderedDict()
        self._lock = Lock()

    def add(self, session: str, path: str, caption: str) -> None:
        """Remembers a picture; one that is there already stays where it is."""
        with self._lock:
            files = self._files.setdefault(session, [])
            self._files.move_to_end(session)
            if all(known != path for known, _ in files):
                files.insert(0, (path, caption))
            del files[MOST_PICTURES:]
            while len(self._files) > MOST_SESSIONS:
                self._files.popitem(last=False)

    def of(self, session: str) -> list[tuple[str, str]]:
        """Return the files of a session that are still there, each with its caption."""
        with self._lock:
            files = list(self._files.get(session, ()))
        return [(path, caption) for path, caption in files if os.path.exists(path)]


def history_of(context: Context) -> History:
    """Return the history that all tabs write into."""
    return context.parts.setdefault("history", History())


def caption_of(result: Result, image: int = 0) -> str:
    """Return what stands under a picture: its seed and the beginning of its prompt."""
    return _sayable(f"{result.seeds[image]} · {result.prompt.text[:80]}")


@dataclass(frozen=True)
class Reading:
    """What a file says, as far as the Generate tab can take it.

    Attributes:
        tool: what wrote it.
        prompt: the prompt.
        negative: the negative prompt.
        settings: all settings by the tool's own names, as text.
        values: values of the Generate tab by the names of its parts.
        painted: what was painted in the Regions tab; None for nothing.
    """

    tool: str
    prompt: str
    negative: str
    settings: tuple[tuple[str, str], ...]
    values: Mapping[str, Any]
    painted: Painted | None = None


SAME = {
    "num_inference_steps": "steps",
    "Steps": "steps",
    "steps": "steps",
    "guidance_scale": "guidance",
    "CFG scale": "guidance",
    "cfg_scale": "guidance",
    "cfgscale": "guidance",
    "cfg": "guidance",
    "seed": "seed",
    "Seed": "seed",
    "width": "width",
    "height": "height",
    "model": "model",
    "normalizer": "normalizer",
    "sampler": "sampler",
    "Sampler": "sampler",
}
"""The names of the Generate tab's parts, by those that tools give them."""


def read_file(path: str) -> Reading | None:
    """Return what the file of a picture says about its making; None where it says nothing.

    Raises:
        PromptweightError: it is no picture, or it is damaged.
        OSError: it cannot be opened.
    """
    from promptweight.metadata import read_metadata

    making = read_metadata(path).making()
    if making is None:
        return None
    values: dict[str, Any] = {}
    for name, value in making.settings.items():
        if name in SAME and isinstance(value, (str, int, float)) and not isinstance(value, bool):
            values.setdefault(SAME[name], value)
    size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(making.settings.get("Size", "")))
    if size:
        values |= {"width": size[1], "height": size[2]}
    if schedule := making.settings.get("Schedule type"):
        values["sampler"] = f"{values.get('sampler')} {schedule}"
    if making.tool == "promptweight":
        values["method"] = _method(making.settings)
        values.setdefault("sampler", str(making.settings.get("scheduler")))
    painted = painted_in(making.settings) if making.tool == "promptweight" else None
    shown = dict(making.settings)
    if painted is not None:
        shown["regions"] = ", ".join(word for word in painted.words if word)
    settings = tuple(
        (_sayable(str(name)), _sayable(_text(value)))
        for name, value in shown.items()
        if value is not None and value != {} and value != []
    )
    prompt, negative = _sayable(making.prompt), _sayable(making.negative_prompt)
    return Reading(making.tool, prompt, negative, settings, values, painted)


def _method(settings: Mapping[str, Any]) -> str:
    """Return the name that the Generate tab gives to how weights acted."""
    if settings.get("space") == "attention":
        return f"attention-{settings.get('mode')}"
    return str(settings.get("method") or "auto")


def number(value: Any, low: float, high: float) -> float | None:
    """Return a value of a file as a number from `low` to `high`; None where it is none."""
    try:
        real = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return real if low <= real <= high else None


def whole(value: Any, low: int, high: int) -> int | None:
    """Return a value of a file as a whole number from `low` to `high`; None where it is none."""
    if isinstance(value, str) and value.isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value == value // 1:
        value = int(value)
    return value if type(value) is int and low <= value <= high else None


def _text(value: Any) -> str:
    if isinstance(value, dict):
        shown = ", ".join(f"{name}: {each}" for name, each in value.items())
    else:
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return shown if len(shown) <= 300 else f"{shown[:300]}…"


def _sayable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
