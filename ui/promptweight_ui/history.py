"""Images of each browser session, and the generation settings in image files."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from promptweight_ui.generation import ATTENTION_PREFIX, DEFAULT_METHOD
from promptweight_ui.i18n import encodable
from promptweight_ui.regions.metadata import PaintedRegions, parse_regions

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight_ui.context import Context

MAX_SESSIONS = 64
MAX_IMAGES = 200
"""Images of one session; the oldest are removed."""

MAX_VALUE = 300
"""Characters of a setting on the page."""


class History:
    """Image files of each session, newest first."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, list[tuple[str, str]]] = OrderedDict()
        self._lock = Lock()

    def add(self, session: str, path: str, caption: str) -> None:
        """Add a file; one that is in the list already keeps its place."""
        with self._lock:
            files = self._files.setdefault(session, [])
            self._files.move_to_end(session)
            if all(known != path for known, _ in files):
                files.insert(0, (path, caption))
            del files[MAX_IMAGES:]
            while len(self._files) > MAX_SESSIONS:
                self._files.popitem(last=False)

    def files(self, session: str) -> list[tuple[str, str]]:
        """Return the existing files of a session, each with its caption."""
        with self._lock:
            files = list(self._files.get(session, ()))
        return [(path, caption) for path, caption in files if os.path.exists(path)]


def shared_history(context: Context) -> History:
    """Return the history of the app, which all tabs share."""
    return context.parts.setdefault("history", History())


def image_caption(result: Result, image: int = 0) -> str:
    """Return the caption of an image: its seed and the beginning of its prompt."""
    return _page_text(f"{result.seeds[image]} · {result.prompt.text[:80]}")


@dataclass(frozen=True)
class HistoryForm:
    """Generation settings of a file, as far as the Generate tab has fields for them.

    Attributes:
        tool: the tool that wrote the file.
        prompt: the prompt.
        negative: the negative prompt.
        settings: all settings by the tool's own names, as text.
        values: values of the Generate tab by the names of its fields.
        painted: the regions painted in the Regions tab; None for none.
    """

    tool: str
    prompt: str
    negative: str
    settings: tuple[tuple[str, str], ...]
    values: Mapping[str, Any]
    painted: PaintedRegions | None = None


FORM_FIELDS = {
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
"""Fields of the Generate tab by the names that tools give to them."""


def read_file(path: str) -> HistoryForm | None:
    """Return the generation settings of an image file; None if it has none.

    Raises:
        PromptweightError: the file is not an image, or it is damaged.
        OSError: the file cannot be opened.
    """
    from promptweight.metadata import read_metadata

    info = read_metadata(path).generation_info()
    if info is None:
        return None
    values: dict[str, Any] = {}
    for name, value in info.settings.items():
        if name in FORM_FIELDS and isinstance(value, (str, int, float)) and not isinstance(value, bool):
            values.setdefault(FORM_FIELDS[name], value)
    size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(info.settings.get("Size", "")))
    if size:
        values |= {"width": size[1], "height": size[2]}
    if schedule := info.settings.get("Schedule type"):
        values["sampler"] = f"{values.get('sampler')} {schedule}"
    if info.tool == "promptweight":
        values["method"] = _weighting_name(info.settings)
        values.setdefault("sampler", str(info.settings.get("scheduler")))
    painted = parse_regions(info.settings) if info.tool == "promptweight" else None
    listed = dict(info.settings)
    if painted is not None:
        listed["regions"] = ", ".join(word for word in painted.words if word)
    settings = tuple(
        (_page_text(str(name)), _page_text(_value_text(value)))
        for name, value in listed.items()
        if value is not None and value != {} and value != []
    )
    prompt, negative = _page_text(info.prompt), _page_text(info.negative_prompt)
    return HistoryForm(info.tool, prompt, negative, settings, values, painted)


def _weighting_name(settings: Mapping[str, Any]) -> str:
    """Return the name of the Generate tab for how weights acted."""
    if settings.get("space") == "attention":
        return f"{ATTENTION_PREFIX}{settings.get('mode')}"
    return str(settings.get("method") or DEFAULT_METHOD)


def number(value: Any, low: float, high: float) -> float | None:
    """Return a value of a file as a number from `low` to `high`; None if it is not one."""
    try:
        real = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return real if low <= real <= high else None


def integer(value: Any, low: int, high: int) -> int | None:
    """Return a value of a file as an integer from `low` to `high`; None if it is not one."""
    if isinstance(value, str) and value.isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value == value // 1:
        value = int(value)
    return value if type(value) is int and low <= value <= high else None


def _value_text(value: Any) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{name}: {each}" for name, each in value.items())
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _page_text(text: str) -> str:
    """Return text of a file without lone surrogates and null characters."""
    return encodable(text).replace("\0", "\ufffd")
