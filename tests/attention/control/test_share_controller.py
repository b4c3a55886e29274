"""Weights found for shares, against a search over weights in float64 and the attention of a real model."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize

from promptweight.attention import Record, attach
from promptweight.attention.control.share_solver import MAX_WEIGHT, solve_weights
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.prompt.phrases import phrases


def softmax_rows(rows: int, keys: int, seed: int) -> np.ndarray:
    """Logits as a layer may have them, one key (the beginning) far above the words."""
    logits = np.random.default_rng(seed).normal(0, 2.5, (rows, keys))
    logits[:, 0] += 6
    return logits


def shares_of(logits: np.ndarray, groups: list[list[int]], log_weights: np.ndarray) -> np.ndarray:
    """By the definition: bias the logits, take the softmax, divide by what the words get."""
    biased = logits.astype(np.float64).copy()
    for group, log_weight in zip(groups, log_weights, strict=True):
        biased[:, group] += log_weight
    p = np.exp(biased - biased.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    masses = np.stack([p[:, group].sum(1) for group in groups], 1)
    return (masses / masses.sum(1, keepdims=True)).mean(0)


def masses_of(logits: np.ndarray, groups: list[list[int]]) -> torch.Tensor:
    p = torch.from_numpy(logits).softmax(1)
    return torch.stack([p[:, group].sum(1) for group in groups], 1)[None]


@pytest.mark.parametrize("target", [0.02, 0.25, 0.5, 0.9])
def test_one_target_is_what_a_search_over_weights_finds(target):
    logits, groups = softmax_rows(400, 8, 1), [[2, 3], [1, 4, 5, 6]]
    found = solve_weights(
        masses_of(logits, groups), torch.tensor([target, 1 - target], dtype=torch.float64), largest=1e6
    )
    searched = brentq(
        lambda u: shares_of(logits, groups, np.array([u, 0.0]))[0] - target, -12, 12, xtol=1e-12
    )
    assert found[0, 0].item() == pytest.approx(searched, abs=1e-8)
    assert found[0, 1] == 0


def test_several_targets_are_what_a_search_over_weights_finds():
    logits, groups = softmax_rows(300, 9, 2), [[1], [2, 3], [4], [5, 6, 7]]
    targets = np.array([0.4, 0.1, 0.3, 0.2])
    masses = masses_of(logits, groups)
    found = solve_weights(masses, torch.from_numpy(targets), largest=1e6)[0].numpy()

    def error(u: np.ndarray) -> float:
        return float(((shares_of(logits, groups, np.append(u, 0.0)) - targets) ** 2).sum())

    settings = {"xatol": 1e-8, "fatol": 1e-20, "maxiter": 4000, "maxfev": 4000}
    searched = minimize(error, np.zeros(3), method="Nelder-Mead", options=settings)
    assert found[:3] == pytest.approx(searched.x, abs=1e-4)
    assert shares_of(logits, groups, found) == pytest.approx(targets, abs=1e-7)


def test_newton_cannot_miss_where_rows_are_all_or_nothing():
    masses = torch.tensor([[1.0, 1e-9], [1e-9, 1.0]], dtype=torch.float64).repeat(50, 1)[None]
    for target in (0.1, 0.5, 0.6, 0.95):
        targets = torch.tensor([target, 1 - target], dtype=torch.float64)
        (u, _) = solve_weights(masses, targets, largest=1e12)[0]
        assert ((masses.log() + torch.stack([u, u * 0])).softmax(-1).mean((0, 1))[0]) == pytest.approx(
            target, abs=1e-6
        )


def test_weights_stay_within_reason():
    masses = torch.tensor([[1e-12, 1.0]])[None]
    weights = solve_weights(masses, torch.tensor([0.9, 0.1])).exp()
    assert weights[0].tolist() == pytest.approx([MAX_WEIGHT, 1.0])


def test_rows_count_as_much_as_they_are_told():
    logits, groups = softmax_rows(40, 6, 3), [[1], [2, 3, 4]]
    repeated = np.concatenate([logits[:20], np.repeat(logits[20:], 3, 0)])
    row_weights = torch.cat([torch.ones(20), 3 * torch.ones(20)]).double() / 80
    targets = torch.tensor([0.3, 0.7], dtype=torch.float64)
    assert solve_weights(masses_of(logits, groups), targets, row_weights) == pytest.approx(
        solve_weights(masses_of(repeated, groups), targets), abs=1e-9
    )


def run(tiny, pipe, session, **settings):
    return tiny.run(pipe, session.inputs, **settings)


def one_call(pipe, session, latents):
    pipe.unet(latents, torch.tensor([500]), encoder_hidden_states=session.inputs["prompt_embeds"])


@torch.no_grad()
def test_a_layer_gives_the_share_that_was_solved_for(tiny):
    """In a model of one layer the same call again has the same queries and keys, so the share is exact."""
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
        (gato, rato) = session.found[0]
    assert (gato.phrase, gato.target, gato.weights[0]) == ("gato", 0.5, 1.0)
    assert gato.shares[0] != pytest.approx(0.5, abs=1e-2)
    assert gato.shares[1:] == pytest.approx([0.5, 0.5], abs=1e-5)
    assert rato.shares[1:] == pytest.approx([0.2, 0.2], abs=1e-5)


def test_shares_are_those_of_the_recorded_softmax(tiny):
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato e rato")
    with attach(pipe, encoded, targets={"gato": 0.5}, record=Record(steps="keep", heads="keep")) as session:
        run(tiny, pipe, session)
        recording = session.maps.recording
        (found,) = session.found[0]
    columns = recording.columns(("positive", 0))
    words = session.tables["positive"][0].words
    for step in range(3):
        shares = []
        for slot in recording.slots:
            p = slot.sums[step, 0, 0].double()
            masses = [p[..., [columns[row] for row in word.positions]].sum(-1) for word in words]
            shares.append((masses[1] / torch.stack(masses).sum(0)).mean())
        assert found.shares[step] == pytest.approx(torch.stack(shares).mean().item(), abs=1e-5)
    assert abs(found.shares[2] - 0.5) < abs(found.shares[0] - 0.5) / 2


@pytest.mark.parametrize("family", ["sd3_pipeline", "flux_pipeline"])
def test_joint_attention_too(tiny, family):
    pipe, encoded = getattr(tiny, family)(), tiny.encode("um gato e rato", negative=None)
    pooled = {"pooled_prompt_embeds": torch.ones(1, 32)}
    with attach(pipe, encoded, targets={"gato": 0.6}) as session:
        tiny.run(pipe, session.inputs | pooled, guidance_scale=1.0)
        (found,) = session.found[0]
    assert abs(found.shares[2] - 0.6) < abs(found.shares[0] - 0.6) / 4


def test_a_balance_gives_equal_shares_and_no_emphasis(tiny):
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato e rato com casa")
    with attach(pipe, encoded, balance=True) as session:
        run(tiny, pipe, session)
        found = session.found[0]
    assert [each.phrase for each in found] == ["gato", "rato", "casa"]
    assert np.ptp([each.shares[2] for each in found]) < np.ptp([each.shares[0] for each in found]) / 2
    assert np.prod([each.weights[2] for each in found]) == pytest.approx(1, abs=1e-5)


def test_pictures_of_a_batch_have_weights_of_their_own(tiny):
    pipe = tiny.pipeline()
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(4))

    def weights(images: slice) -> list[list[float]]:
        encoded = tiny.encode(*["um gato e rato", "casa e gato"][images])
        with attach(pipe, encoded, targets={"gato": 0.5}) as session:
            run(tiny, pipe, session, latents=latents[images])
            return [list(found[0].weights) for found in session.found.values()]

    together = weights(slice(0, 2))
    assert together[0] == pytest.approx(weights(slice(0, 1))[0], abs=1e-4)
    assert together[1] == pytest.approx(weights(slice(1, 2))[0], abs=1e-4)
    assert together[0] != pytest.approx(together[1], abs=1e-2)


def test_nothing_wanted_changes_nothing(tiny):
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato e rato")
    plain = tiny.run(pipe, encoded.inputs)
    with attach(pipe, encoded, record=False) as session:
        assert torch.equal(run(tiny, pipe, session), plain)
        assert session.found == {}
    with attach(pipe, encoded, targets={"gato": 0.5}, record=False) as session:
        assert not torch.equal(run(tiny, pipe, session), plain)
        first = session.found
        run(tiny, pipe, session)
        assert session.found == first
    assert torch.equal(tiny.run(pipe, encoded.inputs), plain)


def test_held_weights_stay_and_shares_are_still_measured(tiny):
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato e rato")
    plain = tiny.run(pipe, encoded.inputs)
    with attach(pipe, encoded, targets={"gato": 0.5}, record=False) as session:
        session.hold()
        assert torch.equal(run(tiny, pipe, session), plain)
        (found,) = session.found[0]
    assert found.weights == (1.0, 1.0, 1.0)
    assert len(found.shares) == 3


def test_a_prompt_says_its_shares_itself(tiny_pipe):
    with attach(tiny_pipe, "um (gato preto:=30%) e (rato:=20%)") as session:
        tiny_pipe(**session.inputs, num_inference_steps=3, height=32, width=32, output_type="latent")
        assert [(each.phrase, each.target) for each in session.found[0]] == [
            ("gato preto", 0.3),
            ("rato", 0.2),
        ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": {"gato": 1.5}}, "1.5"),
        ({"targets": {"gato": 0.6, "rato": 0.4}}, "sum to 1"),
        ({"targets": {"gato": 0.3, "gato e": 0.4}}, "share words"),
        ({"targets": {"gato": 0.3}, "balance": True}, "no"),
        ({"targets": {"gato": 0.3}, "record": Record(lanes=("negative",))}, "positive"),
    ],
)
def test_what_cannot_be_had_is_said(tiny, settings, message):
    with pytest.raises(SettingError, match=message):
        attach(tiny.pipeline(), tiny.encode("um gato e rato"), **settings)


def test_a_target_must_be_in_the_prompt_and_a_balance_needs_two(tiny):
    with pytest.raises(WordNotFoundError):
        attach(tiny.pipeline(), tiny.encode("um gato"), targets={"rato": 0.5})
    session = attach(tiny.pipeline(), tiny.encode("um gato"), balance=True)
    assert any("balance" in warning for warning in session.warnings)


def test_phrases_are_runs_between_little_words(tiny):
    table = tiny.table_of("um gato vermelho e uma casa perto de the red dog")
    assert [" ".join(word.text for word in run) for run in phrases(table.words)] == [
        "gato vermelho",
        "casa",
        "red dog",
    ]
