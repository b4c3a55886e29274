"""Stop levels of a run by signals."""

import signal
import threading
from types import SimpleNamespace

import pytest

from promptweight.cli.interrupts import stop_on_signals


def press(run, times, *, has_begun=True):
    """Raise SIGINT in the block some times; return the reported messages."""
    messages = []
    with stop_on_signals(run, messages.append, "the image"):
        run.has_begun = has_begun
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
    return messages


@pytest.fixture
def run():
    return SimpleNamespace(stop_level=0, has_begun=False)


def test_each_signal_raises_the_stop_level_and_the_first_is_reported(run):
    assert press(run, 2) == ["finishing the image; press Ctrl-C again to stop now"]
    assert run.stop_level == 2


def test_third_signal_ends_the_program(run):
    with pytest.raises(KeyboardInterrupt):
        press(run, 3)


def test_signal_before_the_first_step_ends_the_program(run):
    with pytest.raises(KeyboardInterrupt):
        press(run, 1, has_begun=False)


def test_handler_is_restored_after_an_error(run):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        press(run, 3)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_thread_handles_no_signals(run):
    handlers = []

    def enter():
        with stop_on_signals(run, print, "the image"):
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


def test_closed_terminal_does_not_end_the_run(run):
    def report(_):
        raise OSError("Input/output error")

    with stop_on_signals(run, report, "the image"):
        run.has_begun = True
        signal.raise_signal(signal.SIGINT)
    assert run.stop_level == 1
