"""Pipelines that are refused with a reason, which their classes bear out."""

import inspect

import diffusers
import pytest

from promptweight.conditioning import FAMILIES, encode, find_class_family, find_refusal
from promptweight.conditioning.refusals import REFUSALS
from promptweight.errors import ModelError
from promptweight.messages import catalog
from promptweight.models.files import read_family

CLASSES = {name: reason for reason, names in REFUSALS for name in names}


@pytest.mark.parametrize("name", CLASSES)
def test_class_is_refused_with_its_reason_before_anything_is_read(name):
    kind, reason = getattr(diffusers, name), CLASSES[name]
    assert find_refusal(kind) == reason
    assert find_class_family(kind) is None
    with pytest.raises(ModelError, match=f"{name} is not supported: {reason}"):
        encode(object.__new__(kind), "um gato")
    with pytest.raises(ModelError, match=f"model is a {name}, which is not supported: {reason}") as raised:
        read_family({"_class_name": name}, "model")
    assert catalog("pt-br")[reason.code] in raised.value.args[0].translated(catalog("pt-br"))


def test_no_supported_class_is_refused():
    assert CLASSES.keys().isdisjoint(name for family in FAMILIES for name in family.pipelines)
    assert find_refusal(diffusers.FluxPipeline) is None


def get_arguments(name):
    return inspect.signature(getattr(diffusers, name).__call__).parameters


def test_reasons_are_those_of_the_classes():
    names = {reason.code: names for reason, names in REFUSALS}
    for name in names["refusal-one-sequence"]:
        assert "text_encoder" not in inspect.signature(getattr(diffusers, name)).parameters
    for name in names["refusal-several-embeddings"]:
        parts = inspect.signature(getattr(diffusers, name)).parameters
        assert {"text_encoder", "text_encoder_2"} <= parts.keys()
    for name in names["refusal-text-only"]:
        if "prompt_embeds" in get_arguments(name):
            with pytest.raises(TypeError, match="has no len"):
                getattr(diffusers, name).encode_prompt(object(), prompt_embeds=object())
    for name in names["refusal-image-vector"]:
        assert not [each for each in get_arguments(name) if each.endswith("prompt_embeds")]
