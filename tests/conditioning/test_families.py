"""Model families against the signatures of diffusers' pipelines."""

import inspect
import subprocess
import sys

import diffusers
import pytest

from promptweight.conditioning import FAMILIES, encode, find_class_family
from promptweight.errors import ModelError


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in FAMILIES for name in family.pipelines]
)
def test_every_named_pipeline_accepts_embeddings(family, name):
    pipeline = getattr(diffusers, name)
    accepted = inspect.signature(pipeline.__call__).parameters
    assert "prompt_embeds" in accepted
    assert ("pooled_prompt_embeds" in accepted) == bool(family.pooled)
    parts = inspect.signature(pipeline.__init__).parameters
    for kind in family.encoders:
        assert {kind.tokenizer, kind.model} <= set(parts)


@pytest.mark.slow
def test_every_pipeline_of_diffusers_without_a_family_is_refused():
    pipelines = {name: getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Pipeline")}
    others = {
        name: each
        for name, each in pipelines.items()
        if each.__module__.startswith("diffusers.pipelines") and find_class_family(each) is None
    }
    assert len(others) > 100
    for name, pipeline in others.items():
        with pytest.raises(ModelError, match=f"{name}"):
            encode(object.__new__(pipeline), "um (gato:1.5)")


def test_no_pipeline_belongs_to_two_families():
    names = [name for family in FAMILIES for name in family.pipelines]
    assert len(names) == len(set(names))
    for family in FAMILIES:
        others = {name for other in FAMILIES if other is not family for name in other.pipelines}
        for name in family.pipelines:
            assert others.isdisjoint(base.__name__ for base in getattr(diffusers, name).__mro__)


def test_families_import_without_torch():
    code = "import sys; from promptweight.conditioning import FAMILIES; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
