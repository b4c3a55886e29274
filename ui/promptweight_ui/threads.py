"""Threads that compute with a model; they end before the interpreter does.

A thread inside PyTorch that outlives the interpreter aborts the process. Therefore every such thread is
started here, and the process, before it exits, stops each of them and waits for its end.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from threading import Event, Lock, Thread
from time import monotonic

MAX_WAIT = 20.0
"""Seconds that all threads together have to end when the process exits."""

_is_exiting = Event()
_threads: dict[Thread, Callable[[], None] | None] = {}
_lock = Lock()


def start_thread(name: str, target: Callable[[], None], stop: Callable[[], None] | None = None) -> Thread:
    """Run a function in a thread.

    Args:
        name: the name of the thread.
        target: the function.
        stop: asks the function to end soon; None if it checks `is_exiting` or cannot be stopped.
    """

    def run() -> None:
        try:
            target()
        finally:
            with _lock:
                del _threads[thread]

    thread = Thread(target=run, name=name, daemon=True)
    with _lock:
        _threads[thread] = stop
    thread.start()
    return thread


def is_exiting() -> bool:
    """Return whether the process is about to exit."""
    return _is_exiting.is_set()


@atexit.register
def stop_threads() -> None:
    """Ask all threads to stop, and wait at most `MAX_WAIT` until they have ended."""
    _is_exiting.set()
    with _lock:
        threads = dict(_threads)
    for stop in threads.values():
        if stop is not None:
            stop()
    deadline = monotonic() + MAX_WAIT
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
