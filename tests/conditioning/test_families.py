import inspect

import diffusers
import pytest

from promptweight.conditioning.families import FAMILIES


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in FAMILIES for name in family.pipelines]
)
def test_every_named_pipeline_exists_and_takes_embeddings(family, name):
    pipeline = getattr(diffusers, name)
    taken = inspect.signature(pipeline.__call__).parameters
    assert "prompt_embeds" in taken
    assert ("pooled_prompt_embeds" in taken) == bool(family.pooled)
    parts = inspect.signature(pipeline.__init__).parameters
    for kind in family.encoders:
        assert {kind.tokenizer, kind.model} <= set(parts)


def test_no_pipeline_is_of_two_families():
    names = [name for family in FAMILIES for name in family.pipelines]
    assert len(names) == len(set(names))
    for family in FAMILIES:
        others = {name for other in FAMILIES if other is not family for name in other.pipelines}
        for name in family.pipelines:
            assert others.isdisjoint(base.__name__ for base in getattr(diffusers, name).__mro__)
