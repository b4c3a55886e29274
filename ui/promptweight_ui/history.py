"""Images of each browser session, and the generation settings in image files."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from promptweight.errors import PromptweightError
from promptweight.messages import Message
from promptweight.prompt import convert
from promptweight.weighting import METHOD_NAMES, Weighting
from promptweight_ui.i18n import encodable
from promptweight_ui.outputs import Outputs
from promptweight_ui.regions.metadata import PaintedRegions, parse_regions

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight_ui.context import Context

MAX_SESSIONS = 64
MAX_IMAGES = 120
"""Images in the list; older ones are left out."""

MAX_VALUE = 300
"""Characters of a setting on the page."""


class History:
    """Image files that each session sees, newest first.

    Args:
        outputs: the output folder; where it is listed, its newest files take the place of the session's own.
    """

    def __init__(self, outputs: Outputs | None = None) -> None:
        self._outputs = outputs or Outputs()
        self._files: OrderedDict[str, list[tuple[str, str]]] = OrderedDict()
        self._listed: dict[str, list[tuple[str, str]]] = {}
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
                removed, _ = self._files.popitem(last=False)
                self._listed.pop(removed, None)

    def files(self, session: str) -> list[tuple[str, str]]:
        """Return the existing files of a session, each with its caption."""
        if self._outputs.is_listed:
            files = [(str(path), file_caption(path.name)) for path in self._outputs.newest(MAX_IMAGES)]
        else:
            with self._lock:
                files = list(self._files.get(session, ()))
            files = [(path, caption) for path, caption in files if os.path.exists(path)]
        with self._lock:
            self._files.setdefault(session, [])
            self._listed[session] = files
        return files

    def listed(self, session: str, index: int) -> str | None:
        """Return the path at an index of the files that the session saw last; None for no such file."""
        files = self._listed.get(session, [])
        return files[index][0] if 0 <= index < len(files) and os.path.exists(files[index][0]) else None


def shared_history(context: Context) -> History:
    """Return the history of the app, which all tabs share."""
    return context.parts.setdefault("history", History(context.outputs))


def image_caption(result: Result, image: int = 0) -> str:
    """Return the caption of an image: its seed and the beginning of its prompt."""
    return _page_text(f"{result.seeds[image]} · {result.prompt.text[:80]}")


def file_caption(name: str) -> str:
    """Return the caption of a file in the output folder, from the name that `Result.save` gives it.

    >>> file_caption("00012-7-um-gato.png")
    '7 · um gato'
    """
    match = re.fullmatch(r"\d{5,9}-(\d+)-(.+)\.png", name)
    return _page_text(f"{match[1]} · {match[2].replace('-', ' ')}" if match else name)


@dataclass(frozen=True)
class HistoryForm:
    """Generation settings of a file, as far as the Generate tab has fields for them.

    Attributes:
        tool: the tool that wrote the file.
        prompt: the prompt, in promptweight's syntax.
        negative: the negative prompt.
        settings: all settings by the tool's own names, as text.
        values: values of the Generate tab by the names of its fields.
        notes: what the Generate tab cannot follow, as messages of the library.
        left_out: names of settings of promptweight itself for which the Generate tab has no field.
        painted: the regions painted in the Regions tab; None for none.
    """

    tool: str
    prompt: str
    negative: str
    settings: tuple[tuple[str, str], ...]
    values: Mapping[str, Any]
    notes: tuple[Message, ...] = ()
    left_out: tuple[str, ...] = ()
    painted: PaintedRegions | None = None


FORM_FIELDS = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "seed": "seed",
    "width": "width",
    "height": "height",
    "scheduler": "sampler",
    "clip_skip": "clip_skip",
    "weighting": "weighting",
}
"""Fields of the Generate tab by the names of `GenerateOptions`."""

WITHOUT_FIELD = frozenset(
    (
        *("promptweight", "dialect", "model", "revision", "pipeline", "sampler", "dtype", "device"),
        *("weighting_by_encoder", "regions", *FORM_FIELDS),
    )
)
"""Settings of promptweight that are not options, or that the app takes."""

DEFAULTS = {"negative_guidance": "cfg"}
"""Recorded values of options without a field with which the app generates anyway."""


def read_file(path: str) -> HistoryForm | None:
    """Return the generation settings of an image file; None if it has none.

    Raises:
        PromptweightError: the file is not an image, it is damaged, or its prompt is not known.
        OSError: the file cannot be opened.
    """
    from promptweight.metadata import read_metadata

    info = read_metadata(path).generation_info()
    if info is None:
        return None
    is_own = info.tool == "promptweight"
    options = dict(info.settings if is_own else info.options)
    if is_own:
        options |= {"scheduler": options.get("sampler") or options.get("scheduler")}
        options |= {"weighting": _weighting_text(options.get("weighting"))}
    else:
        # The weights of another tool act as in that tool.
        options["weighting"] = info.dialect if info.dialect in METHOD_NAMES else None
    values = {field: options[name] for name, field in FORM_FIELDS.items() if options.get(name) is not None}
    if is_own:
        values["model"] = info.settings.get("model")
    painted = parse_regions(info.settings) if is_own else None
    listed = dict(info.settings)
    if painted is not None:
        listed["regions"] = ", ".join(word for word in painted.words if word)
    settings = tuple(
        (_page_text(str(name)), _page_text(_value_text(value)))
        for name, value in listed.items()
        if value is not None and value != {} and value != []
    )
    left_out = [
        name
        for name, value in listed.items()
        if is_own and name not in WITHOUT_FIELD and value and value != DEFAULTS.get(name)
    ]
    loras = [f"LoRA {lora.name}" for lora in info.loras]
    prompt, negative = (
        _page_text(convert(text, info.dialect, "pw").text) for text in (info.prompt, info.negative_prompt)
    )
    return HistoryForm(
        info.tool, prompt, negative, settings, values, info.warnings, (*left_out, *loras), painted
    )


def _weighting_text(value: Any) -> str | None:
    """Return the weighting of a file as text; None if it is not valid."""
    try:
        return str(Weighting.parse(value)) if isinstance(value, str) else None
    except PromptweightError:
        return None


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
