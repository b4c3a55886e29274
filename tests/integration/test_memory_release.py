"""What a run recorded is freed when nobody holds it any more, without waiting for the garbage collector."""

import gc
import weakref

import pytest

from promptweight import generate
from promptweight.attention import Record, attach


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_session_goes_with_its_last_name(pipe, tiny, no_collector):
    encoded = tiny.encode("um gato vermelho")
    with attach(pipe, encoded, record=Record(steps="keep", refine=True)) as session:
        tiny.run(pipe, session.inputs)
        assert session.maps.word("gato").mass > 0
    held = weakref.ref(session), weakref.ref(session._prepared.store)
    assert all(each() is not None for each in held)
    del session
    assert all(each() is None for each in held)


def test_a_result_holds_no_session_and_leaves_nothing(tiny_pipe, no_collector):
    sessions = []

    def look(progress):
        sessions.append(weakref.ref(progress._session))
        assert progress.maps.words

    result = generate(
        "um (gato:=30%) aa [um:aa:0.5] AND um (gato:1.2{mode=logit})", tiny_pipe, negative_prompt="aa",
        num_inference_steps=2, record=Record(steps="keep", refine=True), callback=look,
    )  # fmt: skip
    assert sessions
    assert all(session() is None for session in sessions)
    recorded = weakref.ref(result.maps.recording)
    del result
    assert recorded() is None
