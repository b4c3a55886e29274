"""The settings of a picture as AUTOMATIC1111 writes them in its file, which most tools and sites read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from promptweight.models import NOISE_SCHEDULES


def format_infotext(prompt: str, negative_prompt: str, settings: Mapping[str, object]) -> str:
    """Return the text that AUTOMATIC1111 would write: prompt, negative prompt, and one line of settings.

    Args:
        settings: names as that tool writes them (`Steps`, `CFG scale`, …) in the order to be written; None is
            left out. Readers look for `Steps: `, so that should come first. A noise schedule at the end of
            `Sampler` (`DPM++ 2M Karras`) is written as `Schedule type`, as that tool does.

    >>> print(parameters_text("um gato", "", {"Steps": 25, "Seed": 1, "Size": "64x64", "Model": "a, b"}))
    um gato
    Steps: 25, Seed: 1, Size: 64x64, Model: "a, b"
    """
    written: dict[str, object] = {}
    for name, value in settings.items():
        sampler, _, schedule = str(value).rpartition(" ")
        if name == "Sampler" and sampler and schedule in NOISE_SCHEDULES:
            written |= {name: sampler, "Schedule type": schedule}
        else:
            written[name] = value
    pairs = ", ".join(f"{name}: {_quoted(value)}" for name, value in written.items() if value is not None)
    negative = f"\nNegative prompt: {negative_prompt}" if negative_prompt else ""
    return writable(f"{prompt}{negative}\n{pairs}".strip())


def parse_infotext(text: str) -> tuple[str, str, dict[str, str]]:
    """Return (prompt, negative prompt, settings) of an AUTOMATIC1111 text, in time linear in its length.

    The last line counts as settings where it holds three or more `Name: value` pairs, as that tool has it.

    >>> read_parameters("a cat" + chr(10) + "Steps: 20, Seed: 1, Size: 64x64")
    ('a cat', '', {'Steps': '20', 'Seed': '1', 'Size': '64x64'})
    """
    lines = text.strip().split("\n")
    settings = _read_settings(lines[-1])
    if len(settings) < 3:
        settings = {}
    else:
        lines.pop()
    prompt: list[str] = []
    negative: list[str] = []
    target = prompt
    for line in lines:
        line = line.strip()
        if line.startswith("Negative prompt:"):
            target = negative
            line = line[len("Negative prompt:") :].strip()
        target.append(line)
    return "\n".join(prompt), "\n".join(negative), settings


def _read_settings(line: str) -> dict[str, str]:
    """Read `Name: value, Name: "quoted, value"` from left to right, never looking back."""
    settings: dict[str, str] = {}
    at, colon, length = 0, line.find(":"), len(line)
    while colon >= 0:
        comma = line.find(",", at)
        if 0 <= comma < colon:  # a piece without a colon: no setting
            at = comma + 1
            continue
        name, value_at = line[at:colon].strip(), colon + 1
        while value_at < length and line[value_at] == " ":
            value_at += 1
        end = _closing_quote(line, value_at) if line.startswith('"', value_at) else -1
        comma = line.find(",", max(end, value_at))
        stop = comma if comma >= 0 else length
        value = line[value_at:stop].strip()
        if end > 0:
            with contextlib.suppress(ValueError):
                value = str(json.loads(line[value_at : end + 1]))
        settings[name] = value
        at = stop + 1
        colon = line.find(":", at)
    return settings


def _closing_quote(line: str, opening: int) -> int:
    at = opening + 1
    while at < len(line):
        if line[at] == "\\":
            at += 1
        elif line[at] == '"':
            return at
        at += 1
    return -1


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ',:\n"') else text


def writable(text: str) -> str:
    """Return `text` with lone surrogates and NUL replaced: what a PNG text chunk can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
