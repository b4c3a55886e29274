"""Memory that a run has given back to the allocator goes on to the system.

A run's tensors come and go in many sizes, and glibc keeps what they leave between them: the process seems
to grow from run to run although nothing is held. Other allocators do this by themselves or have no such call.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def trim() -> bool:
    """Hand free memory back to the system; returns whether there was any, False where it cannot be done."""
    function = _malloc_trim()
    return function is not None and bool(function(0))


@cache
def _malloc_trim() -> Any:
    """Return glibc's `malloc_trim`; None on systems that have another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
