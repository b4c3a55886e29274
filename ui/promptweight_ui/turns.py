"""Turns at the models: one thread at a time, in the order in which they asked.

A thread that waits can give up its place, and everyone knows how many are before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, get_ident

MAX_WAITING = 32
"""Runs that wait; further ones are refused."""


class QueueFullError(Exception):
    """Refusal of a run because too many are waiting."""


@dataclass(eq=False)
class Ticket:
    """Place in the order of turns.

    Attributes:
        is_run: whether a person waits for it, in contrast to the loading of a model at the start.
    """

    is_run: bool = True
    thread: int | None = None


class Turns:
    """Order of turns; thread-safe.

    Args:
        max_waiting: the number of runs that may wait.
    """

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._order: list[Ticket] = []
        self._changed = Condition()

    def join(self, *, is_run: bool = True) -> Ticket:
        """Return a ticket at the end of the order.

        Raises:
            QueueFullError: too many runs are waiting.
        """
        with self._changed:
            if is_run and len(self._order) > self._max_waiting:
                raise QueueFullError
            self._order.append(Ticket(is_run))
            return self._order[-1]

    def place(self, ticket: Ticket) -> tuple[int, int] | None:
        """Return the place of a ticket among the waiting runs, from 1, and their number.

        The result is None for a ticket that has its turn, has left, or has no run before it.
        """
        with self._changed:
            if ticket not in self._order or ticket.thread is not None:
                return None
            before = self._order[: self._order.index(ticket)]
            if not any(each.is_run for each in before):
                return None
            waiting = [each for each in self._order if each.is_run and each.thread is None]
            return waiting.index(ticket) + 1, len(waiting)

    @property
    def is_awaited(self) -> bool:
        """True while a run waits for its turn."""
        return any(each.is_run and each.thread is None for each in self._order)

    def wake(self) -> None:
        """Let every waiting thread check again whether it should go on waiting."""
        with self._changed:
            self._changed.notify_all()

    def leave(self, ticket: Ticket) -> None:
        """Remove a ticket from the order."""
        with self._changed:
            if ticket in self._order:
                self._order.remove(ticket)
            self._changed.notify_all()

    @contextmanager
    def hold(
        self, ticket: Ticket | None = None, is_canceled: Callable[[], bool] = lambda: False
    ) -> Iterator[bool]:
        """Wait for the turn and hold it inside the block; a thread that holds it already goes on at once.

        Args:
            ticket: the ticket of this thread; a new one when None.
            is_canceled: checked whenever `wake` is called; True ends the wait.

        Returns:
            Whether the block has the turn.
        """
        with self._changed:
            if ticket is None and self._order and self._order[0].thread == get_ident():
                is_nested = True
            else:
                is_nested = False
                if ticket is None:
                    ticket = Ticket(is_run=False)
                    self._order.append(ticket)
                self._changed.wait_for(lambda: is_canceled() or self._order[0] is ticket)
                if not is_canceled():
                    ticket.thread = get_ident()
        if is_nested or ticket is None:
            yield True
            return
        try:
            yield ticket.thread is not None
        finally:
            self.leave(ticket)
