"""Infotext: the settings of an image as AUTOMATIC1111 writes them, which most tools and sites read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from promptweight.models import NOISE_SCHEDULES, TIMESTEP_SPACINGS

EXTRA_TEXT = "Text after the settings"
"""Setting that stands for text after the line of settings, which some extensions write."""

_NEGATIVE = "Negative prompt:"
_KNOWN_NAMES = {
    "steps", "sampler", "schedule type", "scheduler", "cfg scale", "distilled cfg scale", "guidance scale",
    "seed", "size", "model", "model hash", "clip skip", "denoising strength", "width", "height", "version",
}  # fmt: skip
_MIN_KNOWN = 3
"""Number of known names that settings without a line that begins with `Steps:` must have."""
_MAX_DAMAGED = 8
"""Number of damaged JSON values after which a bracket is plain text, so that the time stays linear."""


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
        sampler, schedule = _split_schedule(str(value)) if name == "Sampler" else ("", "")
        pairs |= {name: sampler, "Schedule type": schedule} if schedule else {name: value}
    line = ", ".join(f"{name}: {_quote(value)}" for name, value in pairs.items() if value is not None)
    negative = f"\nNegative prompt: {negative_prompt}" if negative_prompt else ""
    return replace_unwritable(f"{prompt}{negative}\n{line}".strip())


def parse_infotext(text: str) -> tuple[str, str, dict[str, str]]:
    """Parse an infotext into (prompt, negative prompt, settings), in time linear in its length.

    The settings begin at the line that begins with `Steps:`; without one, the last line is the settings
    where it has three or more names that tools use. Text after the settings is the setting `EXTRA_TEXT`.

    >>> parse_infotext("a cat" + chr(10) + "Steps: 20, Seed: 1, Size: 64x64")
    ('a cat', '', {'Steps': '20', 'Seed': '1', 'Size': '64x64'})
    >>> parse_infotext("(cat:1.2), (sea:1.1), (sky:1.3)")
    ('(cat:1.2), (sea:1.1), (sky:1.3)', '', {})
    """
    text = text.strip("\ufeff\0 \t\r\n")
    lines = [line.strip() for line in text.split("\n")]
    at = _find_settings_line(lines)
    if at is None and (start := _find_inline_settings(text)) is not None:
        head, _, tail = text[:start].partition(_NEGATIVE)
        separators = " \t\r\n.,"
        lines = [
            head.strip(separators),
            *([_NEGATIVE + tail.strip(separators)] if tail else []),
            text[start:],
        ]
        at = len(lines) - 1
    settings = {} if at is None else _parse_settings(lines[at])
    prompt: list[str] = []
    negative: list[str] = []
    extra: list[str] = []
    target = prompt
    for number, line in enumerate(lines):
        if number == at:
            target = extra
            continue
        if line.startswith(_NEGATIVE):
            target = negative
            line = line[len(_NEGATIVE) :].strip()
        elif target is extra and _count_known(more := _parse_settings(line)) > 0:
            settings = {**more, **settings}
            continue
        target.append(line)
    if any(extra):
        settings[EXTRA_TEXT] = "\n".join(extra).strip()
    return "\n".join(prompt), "\n".join(negative), settings


def _split_schedule(sampler: str) -> tuple[str, str]:
    """Split a noise schedule from the end of a sampler's name."""
    for schedule in (*NOISE_SCHEDULES, *TIMESTEP_SPACINGS):
        if sampler.endswith(f" {schedule}"):
            return sampler.removesuffix(f" {schedule}"), schedule
    return sampler, ""


def _find_settings_line(lines: list[str]) -> int | None:
    """Return the number of the line with the settings: the first `Steps:` with a number, or any `Steps:`."""
    found = [number for number, line in enumerate(lines) if line.startswith("Steps:")]
    numbered = [number for number in found if lines[number][6:].lstrip()[:1].isdigit()]
    if numbered or found:
        return (numbered or found)[0]
    last = _parse_settings(lines[-1])
    begins_known = next(iter(last), "").casefold() in _KNOWN_NAMES
    return len(lines) - 1 if begins_known and _count_known(last) >= _MIN_KNOWN else None


def _find_inline_settings(text: str) -> int | None:
    """Return the offset of settings in a text whose line breaks were lost."""
    start = text.rfind("Steps: ")
    if start < 1 or text[start - 1].isalnum() or not text[start + 7 : start + 8].isdigit():
        return None
    return start if _count_known(_parse_settings(text[start:])) >= _MIN_KNOWN else None


def _count_known(settings: Mapping[str, str]) -> int:
    return sum(name.casefold() in _KNOWN_NAMES for name in settings)


def _parse_settings(line: str) -> dict[str, str]:
    """Parse `Name: value, Name: "quoted, value", Name: [JSON]` from left to right without backtracking."""
    settings: dict[str, str] = {}
    start, colon, length = 0, line.find(":"), len(line)
    damaged = 0
    while colon >= 0:
        comma = line.find(",", start)
        if 0 <= comma < colon:  # a part without a colon is not a setting
            start = comma + 1
            continue
        name, value_at = line[start:colon].strip(), colon + 1
        while value_at < length and line[value_at] == " ":
            value_at += 1
        end = -1
        opening = line[value_at : value_at + 1]
        if opening == '"':
            end = _closing_quote(line, value_at)
        elif opening and opening in "[{" and damaged < _MAX_DAMAGED:
            end = _json_end(line, value_at)
            damaged += end < 0
        comma = line.find(",", max(end, value_at))
        stop = comma if comma >= 0 else length
        value = line[value_at:stop].strip()
        if end > 0 and opening == '"':
            with contextlib.suppress(ValueError):
                value = str(json.loads(line[value_at : end + 1]))
        settings[name] = value
        start = stop + 1
        colon = line.find(":", start)
    return settings


def _json_end(line: str, opening: int) -> int:
    """Return the index of the bracket that ends the JSON value at `opening`; -1 where it is not JSON."""
    try:
        return json.JSONDecoder().raw_decode(line, opening)[1] - 1
    except (ValueError, RecursionError):
        return -1


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
