"""Negative prompts in sessions: batches, guidance, prompts that change, and what excludes them."""

import pytest
import torch

from promptweight.attention import NegativeGuidance, PromptToPrompt, attach, capture_attention
from promptweight.conditioning import encode_prompts
from promptweight.errors import AttachError, SettingError

WAYS = ["nag", "vsf"]
NEUTRAL = [NegativeGuidance("nag", scale=1), NegativeGuidance("nag", alpha=0)]
SAMPLE = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))


def predict(pipe, inputs, timestep=300):
    """Call the model of a pipeline on the positive embeddings alone."""
    embeds = inputs["prompt_embeds"]
    with torch.no_grad():
        return pipe.unet(SAMPLE.expand(len(embeds), -1, -1, -1), timestep, embeds).sample


def predict_in_session(pipe, prompt, negative, guidance, **settings):
    with attach(pipe, prompt, negative, negative_guidance=guidance, record=False, **settings) as session:
        return predict(pipe, session.inputs)


def run(pipe, prompt, negative, guidance, **settings):
    with attach(pipe, prompt, negative, negative_guidance=guidance) as session:
        image = pipe(
            **session.inputs,
            **{"num_inference_steps": 2, "guidance_scale": 1.0, "output_type": "latent"} | settings,
            generator=torch.Generator().manual_seed(1),
        ).images
    return image, session


@pytest.mark.parametrize("guidance", [*WAYS, *NEUTRAL], ids=str)
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_empty_negative_prompt_changes_no_bit(tiny_pipe, guidance, scale):
    for negative in ("", "  ", None):
        plain, _ = run(tiny_pipe, "um gato", negative, "cfg", guidance_scale=scale)
        assert torch.equal(run(tiny_pipe, "um gato", negative, guidance, guidance_scale=scale)[0], plain)


@pytest.mark.parametrize("guidance", NEUTRAL, ids=str)
def test_neutral_guidance_changes_no_bit(tiny_pipe, guidance):
    plain, _ = run(tiny_pipe, "um gato", "feio", "cfg")
    assert torch.equal(run(tiny_pipe, "um gato", "feio", guidance)[0], plain)


@pytest.mark.parametrize("guidance", WAYS)
def test_rows_of_a_batch_get_their_own_negative_prompt(tiny_pipe, guidance):
    prompts, negatives = ["um gato", "um gato", "um rato"], ["feio", "", "casa azul"]
    together = predict_in_session(tiny_pipe, prompts, negatives, guidance)
    for row, (prompt, negative) in enumerate(zip(prompts, negatives, strict=True)):
        alone = predict_in_session(tiny_pipe, prompt, negative, guidance)
        assert torch.allclose(together[row], alone[0], atol=1e-5)


@pytest.mark.parametrize("guidance", WAYS)
def test_under_guidance_only_positive_rows_change(tiny_pipe, guidance):
    outputs = {}
    for way in ("cfg", guidance):
        with attach(tiny_pipe, "um gato", "feio", negative_guidance=way) as session, torch.no_grad():
            embeds = torch.cat([session.inputs["negative_prompt_embeds"], session.inputs["prompt_embeds"]])
            outputs[way] = tiny_pipe.unet(SAMPLE.expand(2, -1, -1, -1), 300, embeds).sample
    assert torch.allclose(outputs["cfg"][0], outputs[guidance][0], atol=1e-5)
    alone = predict_in_session(tiny_pipe, "um gato", "feio", guidance)
    assert torch.allclose(outputs[guidance][1], alone[0], atol=1e-5)
    assert not torch.allclose(outputs["cfg"][1], outputs[guidance][1], atol=1e-4)


@pytest.mark.parametrize("guidance", WAYS)
def test_run_under_guidance_differs_from_classifier_free_guidance_alone(tiny_pipe, guidance):
    plain, _ = run(tiny_pipe, "um gato", "feio", "cfg", guidance_scale=4.0)
    both, session = run(tiny_pipe, "um gato", "feio", guidance, guidance_scale=4.0)
    assert not torch.allclose(plain, both, atol=1e-4)
    assert session.maps.word("gato").mass > 0


@pytest.mark.parametrize("guidance", WAYS)
def test_parts_joined_by_and_get_the_negative_prompt_each(tiny_pipe, guidance):
    joined = predict_in_session(tiny_pipe, "um gato AND um rato", "feio", guidance)
    parts = [predict_in_session(tiny_pipe, part, "feio", guidance) for part in ("um gato", "um rato")]
    assert torch.allclose(joined, sum(parts) / 2, atol=1e-5)


@pytest.mark.parametrize("guidance", WAYS)
def test_negative_prompt_changes_during_the_run(tiny_pipe, guidance):
    with attach(
        tiny_pipe, "um gato", "[feio:casa:0.5]", num_inference_steps=2, negative_guidance=guidance
    ) as session:
        tiny_pipe.scheduler.set_timesteps(2)
        actual = [predict(tiny_pipe, session.inputs) for _ in range(2)]
    for output, negative in zip(actual, ("feio", "casa"), strict=True):
        expected = predict_in_session(tiny_pipe, "um gato", negative, guidance)
        assert torch.allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize("guidance", WAYS)
def test_weight_of_a_negative_word_is_set_during_the_run(tiny_pipe, guidance):
    weighted = predict_in_session(tiny_pipe, "um gato", "(feio:3) dia", guidance, weighting="attention")
    with attach(tiny_pipe, "um gato", "feio dia", negative_guidance=guidance, record=False) as session:
        before = predict(tiny_pipe, session.inputs)
        session.set_weight("feio", 3, role="negative")
        after = predict(tiny_pipe, session.inputs)
    assert not torch.allclose(before, after, atol=1e-5)
    assert torch.allclose(after, weighted, atol=1e-6)


def test_masked_negative_words_of_vsf_act_as_no_negative_prompt(tiny_pipe):
    plain = predict_in_session(tiny_pipe, "um gato", "", "vsf")
    masked = predict_in_session(tiny_pipe, "um gato", "(feio:0)", "vsf", weighting="attention")
    assert torch.allclose(plain, masked, atol=1e-5)


@pytest.mark.parametrize("guidance", WAYS)
def test_layers_of_a_negative_word(tiny_pipe, guidance):
    everywhere = predict_in_session(tiny_pipe, "um gato", "(feio:5)", guidance, weighting="attention")
    limited = predict_in_session(
        tiny_pipe, "um gato", "(feio:5{layers=up_blocks})", guidance, weighting="attention"
    )
    plain = predict_in_session(tiny_pipe, "um gato", "feio", guidance, weighting="attention")
    assert not torch.allclose(limited, everywhere, atol=1e-5)
    assert not torch.allclose(limited, plain, atol=1e-5)


@pytest.mark.parametrize("guidance", WAYS)
def test_shares_are_those_of_the_positive_prompt(tiny_pipe, guidance):
    with attach(
        tiny_pipe, "um gato e um rato", "feio", targets={"gato": 0.6}, negative_guidance=guidance
    ) as session:
        tiny_pipe(**session.inputs, num_inference_steps=4, guidance_scale=1.0, generator=torch.manual_seed(0))
    shares = session.share_results[0][0].shares
    assert abs(shares[-1] - 0.6) < abs(shares[0] - 0.6)


@pytest.mark.parametrize("guidance", WAYS)
def test_captured_softmax_has_the_positive_prompt_alone(tiny_pipe, guidance):
    with (
        attach(tiny_pipe, "um gato", "feio", negative_guidance=guidance) as session,
        capture_attention(session, [0]) as capture,
    ):
        tiny_pipe(**session.inputs, num_inference_steps=1, guidance_scale=1.0, output_type="latent")
    length = session.inputs["prompt_embeds"].shape[1]
    for captured in capture.text.values():
        row = captured.row(0, 0)
        assert len(row.probabilities) == length
        assert row.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_settings_that_exclude_a_negative_prompt_in_attention_are_refused(tiny_pipe):
    with pytest.raises(SettingError, match="must be one of: cfg, nag, vsf; got 'sag'"):
        attach(tiny_pipe, "um gato", "feio", negative_guidance="sag")
    with pytest.raises(SettingError, match="AND joins several texts of the negative prompt 'feio AND mau'"):
        attach(tiny_pipe, "um gato", "feio AND mau", negative_guidance="nag")
    with pytest.raises(SettingError, match="an edit uses the attention of its source"):
        attach(tiny_pipe, ["um gato", "um rato"], "feio", edit=PromptToPrompt(), negative_guidance="vsf")
    with attach(tiny_pipe, "um gato", "feio", negative_guidance="nag") as session:
        embeds = session.inputs["prompt_embeds"]
        with pytest.raises(AttachError, match="have a mask"):
            tiny_pipe.unet(SAMPLE, 300, embeds, encoder_attention_mask=torch.ones(embeds.shape[:2]))


def test_edit_with_an_empty_negative_prompt_is_not_refused(tiny_pipe):
    attach(tiny_pipe, ["um gato", "um rato"], "", edit=PromptToPrompt(), negative_guidance="vsf")


@pytest.mark.parametrize("guidance", WAYS)
def test_layers_are_restored(tiny_pipe, guidance):
    before = tiny_pipe.unet.attn_processors
    plain = predict(tiny_pipe, encode_prompts(tiny_pipe, "um gato", "feio").inputs)
    predict_in_session(tiny_pipe, "um gato", "feio", guidance)
    assert all(tiny_pipe.unet.attn_processors[name] is each for name, each in before.items())
    assert torch.equal(predict(tiny_pipe, encode_prompts(tiny_pipe, "um gato", "feio").inputs), plain)
