"""Return of free heap memory to the operating system (glibc's `malloc_trim`).

Tensors of many sizes come and go during a run, and glibc keeps the free memory between them: the resident
memory of the process grows from run to run although nothing is referenced. Other allocators return memory
by themselves or have no such function.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def trim() -> bool:
    """Return free memory to the system; the result is whether any was returned, False without glibc."""
    function = _malloc_trim()
    return function is not None and bool(function(0))


@cache
def _malloc_trim() -> Any:
    """Return glibc's `malloc_trim`; None on systems with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
