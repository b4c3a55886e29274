"""Target shares in the attention of models, step by step."""

import pytest
import torch

from promptweight.attention import Record, attach
from promptweight.errors import SettingError, WordNotFoundError


def run(tiny, pipe, session, **settings):
    return tiny.run(pipe, session.inputs, **settings)


def one_call(pipe, session, latents):
    pipe.unet(latents, torch.tensor([500]), encoder_hidden_states=session.inputs["prompt_embeds"])


@torch.no_grad()
def test_single_layer_reaches_the_share_exactly(tiny):
    """A repeated call of a model of one layer has the same queries and keys, so the share is exact."""
    pipe = tiny.pipeline(
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
    )
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(4))
    encoded = tiny.encode("um gato e rato branco", negative=None)
    with attach(
        pipe, encoded, targets={"gato": 0.5, "rato branco": 0.2}, record=Record(heads="keep")
    ) as session:
        for _ in range(3):
            one_call(pipe, session, latents)
        (gato, rato) = session.share_results[0]
    assert (gato.phrase, gato.target, gato.weights[0]) == ("gato", 0.5, 1.0)
    assert gato.shares[0] != pytest.approx(0.5, abs=1e-2)
    assert gato.shares[1:] == pytest.approx([0.5, 0.5], abs=1e-5)
    assert rato.shares[1:] == pytest.approx([0.2, 0.2], abs=1e-5)


def test_shares_match_the_recorded_softmax(tiny):
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato e rato")
    with attach(pipe, encoded, targets={"gato": 0.5}, record=Record(steps="keep", heads="keep")) as session:
        run(tiny, pipe, session)
        recording = session.maps.recording
        (actual,) = session.share_results[0]
    columns = recording.columns(("positive", 0))
    words = session.tables["positive"][0].words
    for step in range(3):
        shares = []
        for slot in recording.slots:
            p = slot.sums[step, 0, 0].double()
            masses = [p[..., [columns[row] for row in word.positions]].sum(-1) for word in words]
            shares.append((masses[1] / torch.stack(masses).sum(0)).mean())
        assert actual.shares[step] == pytest.approx(torch.stack(shares).mean().item(), abs=1e-5)
    assert abs(actual.shares[2] - 0.5) < abs(actual.shares[0] - 0.5) / 2


@pytest.mark.parametrize("family", ["sd3_pipeline", "flux_pipeline"])
def test_share_in_joint_attention_approaches_the_target(tiny, family):
    pipe, encoded = getattr(tiny, family)(), tiny.encode("um gato e rato", negative=None)
    pooled = {"pooled_prompt_embeds": torch.ones(1, 32)}
    with attach(pipe, encoded, targets={"gato": 0.6}) as session:
        tiny.run(pipe, session.inputs | pooled, guidance_scale=1.0)
        (actual,) = session.share_results[0]
    assert abs(actual.shares[2] - 0.6) < abs(actual.shares[0] - 0.6) / 4


def test_images_of_a_batch_have_separate_weights(tiny):
    pipe = tiny.pipeline()
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(4))

    def weights(images: slice) -> list[list[float]]:
        encoded = tiny.encode(*["um gato e rato", "casa e gato"][images])
        with attach(pipe, encoded, targets={"gato": 0.5}) as session:
            run(tiny, pipe, session, latents=latents[images])
            return [list(actual[0].weights) for actual in session.share_results.values()]

    together = weights(slice(0, 2))
    assert together[0] == pytest.approx(weights(slice(0, 1))[0], abs=1e-4)
    assert together[1] == pytest.approx(weights(slice(1, 2))[0], abs=1e-4)
    assert together[0] != pytest.approx(together[1], abs=1e-2)


def test_session_without_targets_changes_nothing(tiny):
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato e rato")
    plain = tiny.run(pipe, encoded.inputs)
    with attach(pipe, encoded, record=False) as session:
        assert torch.equal(run(tiny, pipe, session), plain)
        assert session.share_results == {}
    with attach(pipe, encoded, targets={"gato": 0.5}, record=False) as session:
        assert not torch.equal(run(tiny, pipe, session), plain)
        first = session.share_results
        run(tiny, pipe, session)
        assert session.share_results == first
    assert torch.equal(tiny.run(pipe, encoded.inputs), plain)


def test_freeze_weights_keeps_weights_and_measures_shares(tiny):
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato e rato")
    plain = tiny.run(pipe, encoded.inputs)
    with attach(pipe, encoded, targets={"gato": 0.5}, record=False) as session:
        session.freeze_weights()
        assert torch.equal(run(tiny, pipe, session), plain)
        (actual,) = session.share_results[0]
    assert actual.weights == (1.0, 1.0, 1.0)
    assert len(actual.shares) == 3


def test_share_in_the_prompt_is_a_target(tiny_pipe):
    with attach(tiny_pipe, "um (gato preto:=30%) e (rato:=20%)") as session:
        tiny_pipe(**session.inputs, num_inference_steps=3, height=32, width=32, output_type="latent")
        assert [(each.phrase, each.target) for each in session.share_results[0]] == [
            ("gato preto", 0.3),
            ("rato", 0.2),
        ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": {"gato": 1.5}}, "1.5"),
        ({"targets": {"gato": 0.6, "rato": 0.4}}, "sum to 1"),
        ({"targets": {"gato": 0.3, "gato e": 0.4}}, "share words"),
        ({"targets": {"gato": 0.3}, "record": Record(roles=("negative",))}, "positive"),
    ],
)
def test_targets_that_exclude_each_other_are_refused(tiny, settings, message):
    with pytest.raises(SettingError, match=message):
        attach(tiny.pipeline(), tiny.encode("um gato e rato"), **settings)


def test_target_outside_the_prompt_is_refused(tiny):
    with pytest.raises(WordNotFoundError):
        attach(tiny.pipeline(), tiny.encode("um gato"), targets={"rato": 0.5})
