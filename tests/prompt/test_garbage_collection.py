"""Pauses of garbage collection."""

import gc

import pytest

from promptweight.prompt import parse

LONG = "(a red cat:1.2), " * 5_000


@pytest.fixture(autouse=True)
def restored_collection():
    was_enabled = gc.isenabled()
    yield
    (gc.enable if was_enabled else gc.disable)()


@pytest.mark.parametrize("text", ["(a:1.2)", LONG], ids=["short", "long"])
def test_parse_leaves_collection_as_it_was(text):
    gc.enable()
    parse(text).at()
    assert gc.isenabled()
    gc.disable()
    parse(text).at()
    assert not gc.isenabled()


def test_parse_of_a_long_text_collects_nothing_meanwhile():
    gc.enable()
    phases = []
    gc.callbacks.append(lambda phase, _: phases.append(phase))
    try:
        prompt = parse(LONG).at()
        collections = phases.count("start")
    finally:
        gc.callbacks.pop()
    assert len(prompt.spans) == 10_000
    assert collections <= 4, "a collection may follow each pause; without pauses there are hundreds"


def test_trees_and_prompts_have_no_reference_cycles():
    gc.disable()
    gc.collect()
    for dialect in ("pw", "comfy", "compel"):
        parse(LONG[:20_000] + "[a:b:3]", dialect).timeline(4)
    assert gc.collect() < 100
