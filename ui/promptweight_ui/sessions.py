"""What the app remembers of each browser session: its last result and the run that is going on.

Nothing of it is ever shared between sessions, and all of it has a bound: the least recently used session is
forgotten when there are too many, and the oldest recordings when together they take too much memory.
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

MOST_SESSIONS = 64
MOST_BYTES = 2 * 2**30
"""Of main memory, for the recordings of all sessions together."""


@dataclass
class Session:
    """One browser session.

    Attributes:
        result: of the last run of the Generate tab; None before it.
        run: the run that is going on, or the last one.
    """

    result: Result | None = None
    run: Run | None = None

    def close(self) -> None:
        """Stop what is running at its next step, and lets everything go."""
        if self.run is not None:
            self.run.stop()
        self.result = self.run = None


class Sessions:
    """The sessions of all browsers, by Gradio's session hash; safe to use from several threads."""

    def __init__(self, most: int = MOST_SESSIONS, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def of(self, request: gr.Request) -> Session:
        """Return the session that a request belongs to, a new one where it is the first."""
        name = request.session_hash or ""
        with self._lock:
            session = self._sessions.get(name) or self._sessions.setdefault(name, Session())
            self._sessions.move_to_end(name)
            excess = [self._sessions.popitem(last=False)[1] for _ in range(len(self._sessions) - self._most)]
        for each in excess:
            each.close()
        return session

    def keep(self, session: Session, result: Result) -> None:
        """Make `result` the last one of `session`; older results of others go where memory is short."""
        session.result = result
        with self._lock:
            used = 0
            for each in [session, *reversed(self._sessions.values())]:
                if each.result is not None and (each is not session or used == 0):
                    used += size_of(each.result)
                    if used > self._most_bytes and each is not session:
                        each.result = None

    def drop(self, request: gr.Request) -> None:
        """Forget a session whose tab was closed; what it was running stops at the next step."""
        with self._lock:
            session = self._sessions.pop(request.session_hash or "", None)
        if session is not None:
            session.close()


def size_of(result: Result) -> int:
    """Return the bytes that a result's recording and pictures take."""
    recorded = 0 if result.maps is None else sum(slot.sums.nbytes for slot in result.maps.recording.slots)
    return recorded + sum(3 * image.width * image.height for image in result.images)
