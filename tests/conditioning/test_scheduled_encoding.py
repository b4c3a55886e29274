"""Encoding of scheduled prompts: variants, rows and timelines."""

import torch

from promptweight.conditioning import ScheduledEncoding, encode, encode_prompts, encode_scheduled


def test_variants_are_rows_prompt_after_prompt(sd):
    prompts = ["[um gato:um rato:2]", "vermelho"]
    scheduled = encode_scheduled(sd, prompts, "feio", num_inference_steps=4)
    texts = ["um gato", "um rato", "vermelho"]
    assert [table.prompt.text for table in scheduled.encoded.positive] == texts
    assert scheduled.first_rows["positive"] == (0, 2)
    assert (scheduled.changes, scheduled.steps) == (True, 4)
    alone = torch.cat([encode(sd, text)["prompt_embeds"] for text in texts])
    assert torch.equal(scheduled.encoded.inputs["prompt_embeds"], alone)


def test_inputs_are_the_first_variant_of_every_prompt(sd):
    scheduled = encode_scheduled(sd, ["[um gato:um rato:2]", "vermelho"], "feio", num_inference_steps=4)
    expected = encode(sd, ["um gato", "vermelho"], "feio")
    assert scheduled.inputs.keys() == expected.keys()
    assert all(torch.equal(scheduled.inputs[name], expected[name]) for name in expected)
    assert [table.prompt.text for table in scheduled.tables["positive"]] == ["um gato", "vermelho"]


def test_without_the_number_of_steps_the_first_variant_stays_with_a_warning(sd):
    scheduled = encode_scheduled(sd, "[um gato:um rato verde:0.5]")
    assert [timeline.is_plain for timeline in scheduled.timelines["positive"]] == [True]
    assert [warning.code for warning in scheduled.encoded.warnings] == ["first-step-only"]


def test_plain_wraps_prompts_that_do_not_change(sd):
    encoded = encode_prompts(sd, ["um gato", "vermelho"], "feio")
    scheduled = ScheduledEncoding.plain(encoded)
    assert (scheduled.changes, scheduled.steps) == (False, 1)
    assert scheduled.inputs == encoded.inputs
    assert scheduled.tables == {"positive": encoded.positive, "negative": encoded.negative}
