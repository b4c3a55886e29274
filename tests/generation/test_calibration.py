"""Calibration of `presence`, against effects measured by separate calls of `generate`."""

import numpy as np
import pytest

from promptweight import load
from promptweight.conditioning import encode_prompts
from promptweight.errors import SettingError
from promptweight.generation import GAINS, calibrate, choose_gain, generate
from promptweight.weighting import Weighting

PROMPT = "um ({}:1) e um rato"
STEPS = 3


@pytest.fixture(scope="module")
def mini():
    return load("mini")


@pytest.fixture(scope="module")
def calibration(mini):
    return calibrate(mini, [PROMPT.format("gato")], seeds=(1, 2), evaluations=4, num_inference_steps=STEPS)


def draw(pipe, seed, weight, weighting):
    prompt = f"um (gato:{weight}) e um rato"
    result = generate(pipe, prompt, seed=seed, weighting=weighting, num_inference_steps=STEPS, record=False)
    return np.asarray(result.images[0], dtype=float)


def test_effects_are_distances_from_the_image_without_the_phrase(mini, calibration):
    identity = Weighting("presence", dial=((0.5, 0.5),))
    measured = dict(calibration.effects)
    assert measured[0.0] == 0
    assert measured[1.0] == 1
    changes = []
    for seed in (1, 2):
        absent, half, present = (draw(mini, seed, weight, identity) for weight in (0, 0.5, 1))
        changes.append(np.abs(half - absent).sum() / np.abs(present - absent).sum())
    assert measured[0.5] == pytest.approx(np.mean(changes), abs=1e-4)


def test_effects_increase_and_are_measured_where_they_change_most(calibration):
    weights, effects = zip(*calibration.effects, strict=True)
    assert len(weights) == 6
    assert list(weights) == sorted(weights)
    assert list(effects) == sorted(effects)


def test_dial_maps_a_weight_to_the_interpolation_of_that_effect(calibration):
    weights, effects = zip(*calibration.effects, strict=True)
    for weight, interpolation in calibration.weighting.dial:
        assert np.interp(interpolation, weights, effects) == pytest.approx(weight, abs=0.02)


def test_weighting_draws_the_image_of_the_turned_weight(mini, calibration):
    identity = Weighting("presence", dial=((0.5, 0.5),))
    turned = calibration.weighting.turn_dial(0.6)
    expected = draw(mini, 1, turned, identity)
    np.testing.assert_array_equal(draw(mini, 1, 0.6, calibration.weighting), expected)


def test_gain_is_the_strongest_that_changes_no_more_than_removal(mini, calibration):
    def change_at_two(gain):
        changes = []
        for seed in (1, 2):
            weighting = Weighting("presence", gain=gain)
            absent, present, strong = (draw(mini, seed, weight, weighting) for weight in (0, 1, 2))
            changes.append(np.abs(strong - present).sum() / np.abs(present - absent).sum())
        return np.mean(changes)

    gain = calibration.weighting.gain
    assert gain in GAINS
    assert change_at_two(gain) <= 1
    assert all(change_at_two(stronger) > 1 for stronger in GAINS[: GAINS.index(gain)])


def test_weakest_gain_is_left_where_all_do_harm():
    assert choose_gain(lambda _: False) == GAINS[-1]
    assert choose_gain(lambda gain: gain < 0.6) == 0.5


def test_weight_outside_the_calibrated_range_gets_a_warning(mini):
    def codes(prompt, weighting):
        return [each.code for each in encode_prompts(mini, prompt, weighting=weighting).warnings]

    dial = "presence dial=0.5:0.7"
    for weight in ("2.1", "-0.1"):
        assert codes(f"um (gato:{weight})", dial) == ["weight-uncalibrated"]
        assert codes(f"um (gato:{weight})", "presence dial=0.5:0.5") == []
        assert "weight-uncalibrated" not in codes(f"um (gato:{weight})", "scale")
    for weight in ("0", "0.5", "2"):
        assert codes(f"um (gato:{weight})", dial) == []


def test_usable_range_lies_between_no_effect_and_the_whole(calibration):
    low, high = calibration.usable_range
    assert 0 <= low < high <= 1


@pytest.mark.parametrize("prompt", ["um gato", "um (gato:1) e um (rato:1)"])
def test_prompt_without_exactly_one_weighted_phrase_is_refused(mini, prompt):
    with pytest.raises(SettingError, match="one weighted phrase"):
        calibrate(mini, [prompt], num_inference_steps=1)


def test_no_prompts_or_seeds_are_refused(mini):
    with pytest.raises(SettingError, match="at least one each"):
        calibrate(mini, [])
    with pytest.raises(SettingError, match="at least one each"):
        calibrate(mini, [PROMPT.format("gato")], seeds=())
