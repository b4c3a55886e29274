"""Sessions: separate, limited in number and memory, removed with their pages."""

from dataclasses import dataclass
from types import SimpleNamespace

from promptweight_ui import sessions as module
from promptweight_ui.runs import Run
from promptweight_ui.sessions import Sessions, result_nbytes
from promptweight_ui.turns import Turns


def request(name):
    return SimpleNamespace(session_hash=name)


def result_of(run):
    run.start(lambda run: True)
    list(run.statuses())
    return run.outcome


@dataclass
class RecordedResult:
    """The parts of a result that count: `size` bytes of recording, no image."""

    size: int

    @property
    def maps(self):
        slot = SimpleNamespace(sums=SimpleNamespace(nbytes=self.size))
        return SimpleNamespace(recording=SimpleNamespace(slots=(slot,)))

    @property
    def images(self):
        return ()


def test_sessions_are_separate():
    sessions = Sessions()
    one, other = sessions.get(request("a")), sessions.get(request("b"))
    sessions.store_result(one, RecordedResult(1))
    assert other.result is None
    assert sessions.get(request("a")) is one


def test_run_of_a_removed_session_stops():
    sessions = Sessions()
    session = sessions.get(request("a"))
    run = session.run = Run(Turns())
    sessions.remove(request("a"))
    sessions.remove(request("a"))
    assert len(sessions) == 0
    assert run.is_stopped
    assert result_of(run) is None


def test_least_recently_used_session_is_removed_first():
    sessions = Sessions(max_sessions=2)
    for name in ("a", "b", "a", "c"):
        sessions.get(request(name))
    remaining = sessions.get(request("a"))
    assert len(sessions) == 2
    assert sessions.get(request("a")) is remaining


def test_old_results_are_dropped_when_memory_is_short():
    sessions = Sessions(max_bytes=100)
    first, second, third = (sessions.get(request(name)) for name in "abc")
    for session in (first, second, third):
        sessions.store_result(session, RecordedResult(45))
    assert first.result is None
    assert second.result is not None
    assert third.result is not None


def test_newest_result_stays_whatever_its_size():
    sessions = Sessions(max_bytes=100)
    session = sessions.get(request("a"))
    sessions.store_result(session, RecordedResult(1000))
    assert result_nbytes(session.result) == 1000


def test_reloaded_tab_has_its_result_again(monkeypatch):
    sessions = Sessions()
    first = sessions.resume(request("a"), "tab-of-ana")
    sessions.store_result(first, RecordedResult(1), {"state": "done"})
    sessions.remove(request("a"))
    again = sessions.resume(request("b"), "tab-of-ana")
    assert (again.result, again.message) == (first.result, {"state": "done"})
    assert sessions.resume(request("c"), "tab-of-bruno").result is None
    assert sessions.resume(request("d"), None).result is None
    sessions.remove(request("b"))
    monkeypatch.setattr(module, "MAX_CLOSED_SECONDS", -1)
    sessions.resume(request("e"), "tab-of-carla")
    assert sessions.resume(request("f"), "tab-of-ana").result is None


def test_results_of_closed_tabs_are_dropped_when_memory_is_short():
    sessions = Sessions(max_bytes=100)
    closed = sessions.resume(request("a"), "tab-of-ana")
    sessions.store_result(closed, RecordedResult(60), {})
    sessions.remove(request("a"))
    sessions.store_result(sessions.get(request("b")), RecordedResult(60))
    assert (closed.result, closed.message) == (None, None)
