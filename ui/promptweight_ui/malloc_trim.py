"""Return of free heap memory to the operating system (glibc's `malloc_trim`).

Tensors of many sizes come and go during a run, and glibc keeps the free memory between them: the resident
memory of the process grows from run to run although nothing is referenced. Other allocators return memory
by themselves or have no such function.
"""

from __future__ import annotations

import ctypes


def trim() -> bool:
    """Return free memory to the system; the result is whether any was returned, False without glibc."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, TypeError, AttributeError):
        return False  # another C library
