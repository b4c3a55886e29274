"""State of each browser session: its last result and its current run.

Sessions share nothing, and both their number and their memory are limited: the least recently used session is
removed when there are too many, and the oldest recordings when all together take too much memory.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import gradio as gr

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight_ui.runs import Run

MAX_SESSIONS = 64
MAX_BYTES = 2 * 2**30
"""Main memory for the recordings of all sessions together."""


@dataclass
class Session:
    """One browser session.

    Attributes:
        result: the result of the last run in the Generate or the Regions tab; None before the first.
        run: the current run, or the last one.
    """

    result: Result | None = None
    run: Run | None = None

    def stop(self) -> None:
        """End the current run after its present step."""
        if self.run is not None:
            self.run.stop()

    def close(self) -> None:
        """Stop the current run and release everything."""
        self.stop()
        self.result = self.run = None


class Sessions:
    """The sessions of all browsers by Gradio's session hash; thread-safe.

    Args:
        max_sessions: how many sessions are kept.
        max_bytes: the memory of all recordings together.
    """

    def __init__(self, max_sessions: int = MAX_SESSIONS, max_bytes: int = MAX_BYTES) -> None:
        self._max_sessions, self._max_bytes = max_sessions, max_bytes
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, request: gr.Request) -> Session:
        """Return the session of a request, a new one for its first request."""
        name = request.session_hash or ""
        with self._lock:
            session = self._sessions.get(name) or self._sessions.setdefault(name, Session())
            self._sessions.move_to_end(name)
            number = len(self._sessions) - self._max_sessions
            removed = [self._sessions.popitem(last=False)[1] for _ in range(number)]
        for each in removed:
            each.close()
        return session

    def store_result(self, session: Session, result: Result) -> None:
        """Make `result` the last one of `session`; older results of others are dropped to free memory."""
        session.result = result
        with self._lock:
            used = 0
            for each in [session, *reversed(self._sessions.values())]:
                if each.result is not None and (each is not session or used == 0):
                    used += result_nbytes(each.result)
                    if used > self._max_bytes and each is not session:
                        each.result = None

    def remove(self, request: gr.Request) -> None:
        """Remove the session of a closed page; its run ends after the present step."""
        with self._lock:
            session = self._sessions.pop(request.session_hash or "", None)
        if session is not None:
            session.close()


def result_nbytes(result: Result) -> int:
    """Return the bytes of a result's recording and images."""
    recorded = 0 if result.maps is None else sum(slot.sums.nbytes for slot in result.maps.recording.slots)
    return recorded + sum(3 * image.width * image.height for image in result.images)
