"""Infotext: the settings of an image as AUTOMATIC1111 writes them, which most tools and sites read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from promptweight.models import NOISE_SCHEDULES


def format_infotext(prompt: str, negative_prompt: str, settings: Mapping[str, object]) -> str:
    """Format an infotext: prompt, negative prompt, and one line of settings.

    Args:
        prompt: the prompt.
        negative_prompt: the negative prompt, which may be empty.
        settings: AUTOMATIC1111's names (`Steps`, `CFG scale`, …) in their order; None is left out. `Steps`
            should come first, since readers search for `Steps: `. A noise schedule at the end of `Sampler`
            (`DPM++ 2M Karras`) becomes `Schedule type`, as in that tool.

    >>> print(format_infotext("um gato", "", {"Steps": 25, "Seed": 1, "Size": "64x64", "Model": "a, b"}))
    um gato
    Steps: 25, Seed: 1, Size: 64x64, Model: "a, b"
    """
    pairs: dict[str, object] = {}
    for name, value in settings.items():
        sampler, _, schedule = str(value).rpartition(" ")
        if name == "Sampler" and sampler and schedule in NOISE_SCHEDULES:
            pairs |= {name: sampler, "Schedule type": schedule}
        else:
            pairs[name] = value
    line = ", ".join(f"{name}: {_quote(value)}" for name, value in pairs.items() if value is not None)
    negative = f"\nNegative prompt: {negative_prompt}" if negative_prompt else ""
    return replace_unwritable(f"{prompt}{negative}\n{line}".strip())


def parse_infotext(text: str) -> tuple[str, str, dict[str, str]]:
    """Parse an infotext into (prompt, negative prompt, settings), in time linear in its length.

    The last line is the settings where it has three or more `Name: value` pairs, as in AUTOMATIC1111.

    >>> parse_infotext("a cat" + chr(10) + "Steps: 20, Seed: 1, Size: 64x64")
    ('a cat', '', {'Steps': '20', 'Seed': '1', 'Size': '64x64'})
    """
    lines = text.strip().split("\n")
    settings = _parse_settings(lines[-1])
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


def _parse_settings(line: str) -> dict[str, str]:
    """Parse `Name: value, Name: "quoted, value"` from left to right without backtracking."""
    settings: dict[str, str] = {}
    start, colon, length = 0, line.find(":"), len(line)
    while colon >= 0:
        comma = line.find(",", start)
        if 0 <= comma < colon:  # a part without a colon is not a setting
            start = comma + 1
            continue
        name, value_at = line[start:colon].strip(), colon + 1
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
        start = stop + 1
        colon = line.find(":", start)
    return settings


def _closing_quote(line: str, opening: int) -> int:
    """Return the index of the quote that closes the one at `opening`; -1 where there is none."""
    at = opening + 1
    while at < len(line):
        if line[at] == "\\":
            at += 1
        elif line[at] == '"':
            return at
        at += 1
    return -1


def _quote(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ',:\n"') else text


def replace_unwritable(text: str) -> str:
    """Replace lone surrogates and NUL, which a PNG text chunk cannot store, by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
