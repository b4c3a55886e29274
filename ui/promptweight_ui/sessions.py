"""State of each browser session: its last result and its current run.

Sessions share nothing, and both their number and their memory are limited: the least recently used session is
removed when there are too many, and the oldest recordings when all together take too much memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

import gradio as gr

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight_ui.runs import Run

MAX_SESSIONS = 64
MAX_CLOSED_SECONDS = 600
"""Time for which the result of a closed page is kept, for a page that is loaded again."""

MAX_BYTES = 2 * 2**30
"""Main memory for the recordings of all sessions together."""


@dataclass
class Reading:
    """Encoding of a prompt in the Explore tab.

    Attributes:
        run: the current one, or the last one.
    """

    run: Run | None = None


@dataclass
class Session:
    """One browser session.

    Attributes:
        result: the result of the last run in the Generate or the Regions tab; None before the first.
        message: the message of the result for the page.
        run: the current run, or the last one.
        has_compared: whether the Compare tab has made a grid.
        closed_at: the time at which its page was closed.
        reading: encoding of a prompt in the Explore tab, which does not stop the run.
        calls: runs of the endpoints for programs, of which a client may have several.
    """

    result: Result | None = None
    message: Mapping[str, Any] | None = None
    run: Run | None = None
    has_compared: bool = False
    closed_at: float | None = None
    reading: Reading = field(default_factory=Reading)
    calls: set[Run] = field(default_factory=set)

    def stop(self) -> None:
        """End the current run."""
        if self.run is not None:
            self.run.stop()

    def close(self) -> None:
        """Stop the current run."""
        self.closed_at = monotonic()
        self.stop()
        if self.reading.run is not None:
            self.reading.run.stop()
        for run in tuple(self.calls):
            run.stop()
        self.run = self.reading.run = None


class Sessions:
    """The sessions of all browsers by Gradio's session hash; thread-safe.

    Args:
        max_sessions: how many sessions are kept.
        max_bytes: the memory of all recordings together.
    """

    def __init__(self, max_sessions: int = MAX_SESSIONS, max_bytes: int = MAX_BYTES) -> None:
        self._max_sessions, self._max_bytes = max_sessions, max_bytes
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._tabs: OrderedDict[str, Session] = OrderedDict()
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

    def store_result(
        self, session: Session, result: Result, message: Mapping[str, Any] | None = None
    ) -> None:
        """Make `result` the last one of `session`; older results of others are dropped to free memory."""
        session.result, session.message = result, message
        with self._lock:
            self._forget_closed()
            others = [*reversed(self._sessions.values()), *reversed(self._tabs.values())]
            kept = {id(session.result)}
            used = result_nbytes(result)
            for each in others:
                if each.result is None or id(each.result) in kept:
                    continue
                kept.add(id(each.result))
                used += result_nbytes(each.result)
                if used > self._max_bytes:
                    each.result = each.message = None

    def resume(self, request: gr.Request, tab: object) -> Session:
        """Return the session of a request with the result that the same tab of the browser had before.

        A page that is loaded again is another session for Gradio. Its run was stopped, its result is kept.

        Args:
            request: the request.
            tab: a random text that the tab keeps.
        """
        session = self.get(request)
        if not isinstance(tab, str) or not 8 <= len(tab) <= 64:
            return session
        with self._lock:
            former = self._tabs.get(tab)
            if former is not None and session.result is None:
                session.result, session.message = former.result, former.message
            self._tabs[tab] = session
            self._tabs.move_to_end(tab)
            self._forget_closed()
        return session

    def _forget_closed(self) -> None:
        limit = monotonic() - MAX_CLOSED_SECONDS
        for tab, session in list(self._tabs.items()):
            is_old = session.closed_at is not None and session.closed_at < limit
            if is_old or len(self._tabs) > self._max_sessions:
                del self._tabs[tab]

    def remove(self, request: gr.Request) -> None:
        """Remove the session of a closed page; its run is stopped, its result is kept for `resume`."""
        with self._lock:
            session = self._sessions.pop(request.session_hash or "", None)
        if session is not None:
            session.close()


def result_nbytes(result: Result) -> int:
    """Return the bytes of a result's recording and images."""
    recorded = 0 if result.maps is None else sum(slot.sums.nbytes for slot in result.maps.recording.slots)
    return recorded + sum(3 * image.width * image.height for image in result.images)
