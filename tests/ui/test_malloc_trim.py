"""Return of free heap memory to the system."""

import ctypes
import sys

import numpy as np
import psutil
import pytest

from promptweight_ui import malloc_trim


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="the C library is not glibc",
)
def test_trim_returns_free_memory_between_used_blocks():
    malloc_trim.trim()
    blocks = [np.ones(12_000) for _ in range(2000)]  # 96 kB each: below the size of a mapping of its own
    used_blocks = blocks[::50]
    before = psutil.Process().memory_info().rss
    del blocks
    assert malloc_trim.trim() is True
    assert before - psutil.Process().memory_info().rss > 100e6
    assert all(block[0] == 1 for block in used_blocks)


@pytest.mark.parametrize("error", [OSError, TypeError, AttributeError])
def test_trim_without_glibc_does_nothing(monkeypatch, error):
    def no_library(name):
        raise error(name)

    monkeypatch.setattr(malloc_trim.ctypes, "CDLL", no_library)
    assert malloc_trim.trim() is False
