"""Memory goes back to the system after a run."""

import numpy as np
import psutil

from promptweight_ui import malloc_trim


def test_free_memory_between_what_is_held_goes_back_to_the_system():
    if malloc_trim._malloc_trim() is None:
        assert malloc_trim.trim() is False  # another C library: nothing to call, and no error
        return
    malloc_trim.trim()
    blocks = [np.ones(12_000) for _ in range(2000)]  # 96 kB each: below the size that is mapped by itself
    held = blocks[::50]
    used = psutil.Process().memory_info().rss
    del blocks
    assert malloc_trim.trim() is True
    assert used - psutil.Process().memory_info().rss > 100e6
    assert all(block[0] == 1 for block in held)


def test_other_systems_have_no_such_call(monkeypatch):
    def no_library(name):
        raise OSError(name)

    monkeypatch.setattr(malloc_trim.ctypes, "CDLL", no_library)
    malloc_trim._malloc_trim.cache_clear()
    assert malloc_trim.trim() is False
    monkeypatch.undo()
    malloc_trim._malloc_trim.cache_clear()
