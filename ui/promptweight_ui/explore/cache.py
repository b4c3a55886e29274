"""Where the Explore tab keeps what it looks into: a few things at a time, each known to one page alone.

A page names what it looks at by a key that nobody can guess, so that sessions cannot see each other's.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

MOST_THINGS = 64
MOST_BYTES = 2**30
"""Of main memory, for all browsers together."""

Thing = TypeVar("Thing")


class Kept(Generic[Thing]):
    """Things by their keys; the least recently used go first where there are too many, or too large ones."""

    def __init__(self, most: int = MOST_THINGS, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._things: OrderedDict[str, tuple[Thing, int, str]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._things)

    def add(self, thing: Thing, nbytes: int, owner: str = "") -> str:
        """Keep a thing of that size; returns its key.

        Args:
            thing: what to keep.
            nbytes: the memory that it takes.
            owner: the session it is for, which has one thing at a time; no session when empty.
        """
        key = secrets.token_urlsafe(16)
        with self._lock:
            for known in [each for each, (_, _, of) in self._things.items() if owner and of == owner]:
                del self._things[known]
            self._things[key] = (thing, nbytes, owner)
            while len(self._things) > 1 and (
                len(self._things) > self._most
                or sum(size for _, size, _ in self._things.values()) > self._most_bytes
            ):
                self._things.popitem(last=False)
        return key

    def get(self, key: object) -> Thing | None:
        """Return the thing of that key; None where it went."""
        with self._lock:
            if not isinstance(key, str) or key not in self._things:
                return None
            self._things.move_to_end(key)
            return self._things[key][0]

    def drop(self, key: object) -> None:
        """Let a thing go."""
        with self._lock:
            if isinstance(key, str):
                self._things.pop(key, None)
