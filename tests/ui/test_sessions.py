"""Sessions: separate, limited in number and memory, removed with their pages."""

from dataclasses import dataclass
from types import SimpleNamespace

from promptweight_ui.runs import Run
from promptweight_ui.sessions import Sessions, result_nbytes


def request(name):
    return SimpleNamespace(session_hash=name)


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


def test_removed_session_is_released_and_its_run_stops():
    sessions = Sessions()
    session = sessions.get(request("a"))
    run = session.run = Run()
    sessions.remove(request("a"))
    sessions.remove(request("a"))
    assert len(sessions) == 0
    assert session.result is None
    run.start(lambda callback: callback(SimpleNamespace(image_number=1, image_count=1, step=1, steps=9)))
    list(run.progress())
    assert run.outcome is False


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
