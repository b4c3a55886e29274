"""Release of a run's recording with its last reference, without the garbage collector."""

import gc
import weakref

import pytest

from promptweight import generate
from promptweight.attention import AttentionSession, Record, attach


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_session_is_freed_with_its_last_reference(pipe, tiny, no_collector):
    encoded = tiny.encode("um gato vermelho")
    with attach(pipe, encoded, record=Record(steps="keep", refine=True)) as session:
        tiny.run(pipe, session.inputs)
        assert session.maps.word("gato").mass > 0
    references = weakref.ref(session), weakref.ref(session.config.store)
    assert all(each() is not None for each in references)
    del session
    assert all(each() is None for each in references)


def test_result_references_no_session_and_frees_its_recording(tiny_pipe, no_collector, monkeypatch):
    sessions = []
    enter = AttentionSession.__enter__

    def enter_and_note(self):
        sessions.append(weakref.ref(self))
        return enter(self)

    monkeypatch.setattr(AttentionSession, "__enter__", enter_and_note)
    words = []
    result = generate(
        tiny_pipe,
        "um (gato:=30%) aa [um:aa:0.5] AND um (gato:1.2{weighting=attention})",
        negative_prompt="aa",
        num_inference_steps=2,
        record=Record(steps="keep", refine=True),
        callback=lambda progress: words.append(len(progress.maps.words)),
    )
    assert min(words) > 0
    assert sessions
    assert all(session() is None for session in sessions)
    recorded = weakref.ref(result.maps.recording)
    del result
    assert recorded() is None
