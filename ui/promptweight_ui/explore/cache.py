"""Cache of captured attention for the Explore tab, limited in number and memory.

A page refers to an entry by a random key, so that pages cannot read the entries of other sessions.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

MAX_ENTRIES = 64
MAX_BYTES = 2**30
"""Main memory for all browsers together."""

Entry = TypeVar("Entry")


class Cache(Generic[Entry]):
    """Entries by their keys; the least recently used ones are removed first.

    Args:
        max_entries: the number of entries.
        max_bytes: their memory; the newest entry is kept even if it alone is larger.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._entries: OrderedDict[str, tuple[Entry, int, str]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry, nbytes: int, owner: str = "") -> str:
        """Add an entry and return its key.

        Args:
            entry: the entry.
            nbytes: its memory.
            owner: the session of the entry, which replaces the session's previous one; none when empty.
        """
        key = secrets.token_urlsafe(16)
        with self._lock:
            for known in [each for each, (_, _, of) in self._entries.items() if owner and of == owner]:
                del self._entries[known]
            self._entries[key] = (entry, nbytes, owner)
            while len(self._entries) > 1 and (
                len(self._entries) > self._max_entries
                or sum(size for _, size, _ in self._entries.values()) > self._max_bytes
            ):
                self._entries.popitem(last=False)
        return key

    def get(self, key: object) -> Entry | None:
        """Return the entry of a key; None if it was removed."""
        with self._lock:
            if not isinstance(key, str) or key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]
