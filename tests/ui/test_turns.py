"""Turns at the models: order, places, cancellation."""

from threading import Event, Thread

import pytest

from promptweight_ui.turns import QueueFullError, Turns

PATIENCE = 60  # seconds


def waiting(turns, ticket, canceled):
    """Begin to wait for a turn in a thread, and return the thread and the list of its results."""
    results = []

    def wait():
        with turns.hold(ticket, canceled.is_set) as has_turn:
            results.append(has_turn)

    thread = Thread(target=wait)
    thread.start()
    return thread, results


def test_turns_follow_the_order_of_the_tickets():
    turns = Turns()
    first, second, third = (turns.join() for _ in range(3))
    assert [turns.place(each) for each in (first, second, third)] == [None, (2, 3), (3, 3)]
    with turns.hold(first):
        assert [turns.place(each) for each in (first, second, third)] == [None, (1, 2), (2, 2)]
        turns.leave(second)
        assert turns.place(third) == (1, 1)
        assert turns.place(second) is None
    with turns.hold(third) as has_turn:
        assert has_turn


def test_thread_with_the_turn_goes_on_at_once():
    turns = Turns()
    with turns.hold() as one, turns.hold() as other:
        assert (one, other) == (True, True)
        waits, results = waiting(turns, turns.join(), Event())
    waits.join(PATIENCE)
    assert results == [True]


def test_canceled_ticket_gets_no_turn():
    turns, canceled = Turns(), Event()
    with turns.hold():
        thread, results = waiting(turns, turns.join(), canceled)
        canceled.set()
        turns.wake()
        thread.join(PATIENCE)
        assert results == [False]


def test_loading_of_a_model_is_not_a_place_in_the_queue():
    turns = Turns()
    turns.join(is_run=False)
    assert turns.place(turns.join()) is None


def test_full_queue_refuses_runs():
    turns = Turns(max_waiting=2)
    tickets = [turns.join() for _ in range(3)]
    with pytest.raises(QueueFullError):
        turns.join()
    turns.leave(tickets[0])
    turns.join()
