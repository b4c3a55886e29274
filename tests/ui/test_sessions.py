"""Sessions: apart from each other, bounded, gone with their tabs."""

from dataclasses import dataclass
from types import SimpleNamespace

from promptweight_ui.runs import Run
from promptweight_ui.sessions import Sessions, size_of


def request(name):
    return SimpleNamespace(session_hash=name)


@dataclass
class Recorded:
    """As much of a result as counts: `size` bytes of recording, no picture."""

    size: int

    @property
    def maps(self):
        slot = SimpleNamespace(sums=SimpleNamespace(nbytes=self.size))
        return SimpleNamespace(recording=SimpleNamespace(slots=(slot,)))

    @property
    def images(self):
        return ()


def test_sessions_are_apart():
    sessions = Sessions()
    one, other = sessions.of(request("a")), sessions.of(request("b"))
    sessions.keep(one, Recorded(1))
    assert other.result is None
    assert sessions.of(request("a")) is one


def test_a_closed_tab_leaves_nothing_and_stops_its_run():
    sessions = Sessions()
    session = sessions.of(request("a"))
    run = session.run = Run()
    sessions.drop(request("a"))
    sessions.drop(request("a"))
    assert len(sessions) == 0
    assert session.result is None
    run.start(lambda callback: callback(SimpleNamespace(picture=1, pictures=1, step=1, steps=9)))
    list(run.news())
    assert run.outcome is False


def test_the_session_unused_for_longest_goes_first():
    sessions = Sessions(most=2)
    for name in ("a", "b", "a", "c"):
        sessions.of(request(name))
    kept = sessions.of(request("a"))
    assert len(sessions) == 2
    assert sessions.of(request("a")) is kept


def test_old_recordings_go_when_memory_is_short():
    sessions = Sessions(most_bytes=100)
    first, second, third = (sessions.of(request(name)) for name in "abc")
    for session in (first, second, third):
        sessions.keep(session, Recorded(45))
    assert first.result is None
    assert second.result is not None
    assert third.result is not None


def test_the_newest_result_stays_however_large_it_is():
    sessions = Sessions(most_bytes=100)
    session = sessions.of(request("a"))
    sessions.keep(session, Recorded(1000))
    assert size_of(session.result) == 1000
