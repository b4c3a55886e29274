"""JSON objects in the texts of untrusted files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def parse_object(text: object) -> dict[str, Any] | None:
    """Return the JSON object that a text is; None for any other text."""
    if not isinstance(text, str) or not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return None
    try:
        value = json.loads(text.strip("\ufeff\0 \t\r\n"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def find_text(record: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the first text among some values of a record; None without one."""
    return next((record[name] for name in names if isinstance(record.get(name), str)), None)


def first_text(record: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the first text among some values of a record; empty without one."""
    return find_text(record, names) or ""
