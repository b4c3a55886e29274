"""Warnings about fields of a weighting without effect: a field has a warning, or changes something."""

from itertools import product

import pytest
import torch

from promptweight.attention.control.rules import make_key_rules
from promptweight.conditioning import encode_prompts
from promptweight.maps.prompt_words import PlacedTable
from promptweight.weighting import Weighting

FIELDS = {
    "normalizer": "length",
    "pooled": "weighted",
    "layers": "up_blocks",
    "steps": (0, 0.5),
    "dial": ((0.5, 0.8),),
    "gain": 0.5,
}
CODES = {
    "normalizer": {"normalizer-unused"},
    "pooled": {"pooled-unused", "pooled-missing"},
    "layers": {"attention-fields-unused"},
    "steps": {"attention-fields-unused"},
    "dial": {"calibration-unused"},
    "gain": {"calibration-unused", "gain-needs-session"},
}
NAMES = (None, "none", "scale", "presence", "attention", "clip-attention")
IN_SESSION = ("normalizer", "pooled", "dial", "gain")  # layers and steps may act on weights set in the run
PROMPTS = {
    "pw": "um (gato preto:0.5) e um (rato cinza:1.5)",
    "pw embedding": "um (gato preto:0.5), um (rato:1.5{weighting=embedding}) e um (lobo:1.2)",
    "pw clip-attention": "um (gato preto:0.5), um (rato:1.5{weighting=clip-attention}) e um (lobo:1.2)",
    "a1111": "um (gato preto:0.5) e um (rato cinza:1.5)",
    "comfy": "um (gato preto:0.5) e um (rato cinza:1.5)",
}


def encode_with(pipe, weighting, case, in_session):
    """Return the embeddings and the rules of attention, and the codes of the warnings."""
    encoded = encode_prompts(
        pipe, PROMPTS[case], weighting=weighting, dialect=case.split()[0], in_session=in_session
    )
    rules = {}
    for number, section in enumerate(encoded.sections):
        tables = (PlacedTable(section.start, section.encoders, section.positive[0]),)
        rules[number] = make_key_rules(tables, weighting) if in_session else {}
    return encoded.inputs, rules, {warning.code for warning in encoded.warnings}


def is_equal(one, other):
    return one[1] == other[1] and all(torch.equal(tensor, other[0][name]) for name, tensor in one[0].items())


@pytest.mark.parametrize(
    ("family", "case"),
    [*product(["sd"], PROMPTS), *product(["sdxl", "sd3", "flux"], ["pw", "pw clip-attention"])],
)
@pytest.mark.parametrize("in_session", [False, True], ids=["embeddings", "session"])
def test_field_has_a_warning_exactly_where_it_changes_nothing(in_session, family, case, request):
    pipe = request.getfixturevalue(family)
    for name in NAMES:
        if name == "attention" and not in_session:
            continue
        plain = encode_with(pipe, Weighting(name), case, in_session)
        assert plain[2].isdisjoint(set.union(*CODES.values()))
        for field in IN_SESSION if in_session else FIELDS:
            changed = encode_with(pipe, Weighting(name, **{field: FIELDS[field]}), case, in_session)
            assert bool(changed[2] & CODES[field]) == is_equal(plain, changed), (name, field)


def test_prompt_without_text_has_no_warning_about_fields(sd):
    weighting = Weighting("comfy", normalizer="length", pooled="weighted", dial=((0.5, 0.8),), gain=2)
    assert encode_prompts(sd, "", weighting=weighting).warnings == ()
