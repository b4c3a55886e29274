"""`generate` with target shares: weights, shares, records and errors."""

import pytest

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.generation import generate

SETTINGS = {"seed": 1, "num_inference_steps": 4, "record": False}


@pytest.fixture(scope="module")
def result(tiny_pipe):
    return generate(tiny_pipe, "um gato e rato", targets={"gato": 0.6}, **SETTINGS)


def test_solved_weight_approaches_the_target_share(result):
    ((gato,),) = result.shares
    assert (gato.phrase, gato.target) == ("gato", 0.6)
    assert gato.weights[0] == 1
    assert gato.weight == pytest.approx((gato.weights[1] * gato.weights[2] * gato.weights[3]) ** (1 / 3))
    assert gato.weight > 1
    assert abs(gato.shares[-1] - 0.6) < abs(gato.shares[0] - 0.6) / 3


def test_target_in_the_prompt_is_the_same(tiny_pipe, result):
    written = generate(tiny_pipe, "um (gato:=60%) e rato", **SETTINGS)
    assert written.images[0].tobytes() == result.images[0].tobytes()
    assert written.shares == result.shares
    assert "targets" not in written.settings


def test_targets_change_the_image_and_are_recorded(tiny_pipe, result):
    plain = generate(tiny_pipe, "um gato e rato", **SETTINGS)
    assert result.images[0].tobytes() != plain.images[0].tobytes()
    assert result.settings["targets"] == {"gato": 0.6}
    assert any("'gato'" in warning and "60.0%" in warning for warning in result.warnings)
    assert plain.shares == ()
    assert "targets" not in plain.settings


def test_targets_act_in_the_layers_of_the_weighting(tiny_pipe, result):
    settings = {**SETTINGS, "weighting": "presence layers=up_blocks"}
    made = generate(tiny_pipe, "um gato e rato", targets={"gato": 0.6}, **settings)
    assert made.images[0].tobytes() != result.images[0].tobytes()
    assert not any("limit weights" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ({"cachorro": 0.5}, WordNotFoundError, "'cachorro'"),
        ({"gato": 1.5}, SettingError, "between 0 and 1; got 1.5"),
        ({"gato": 0.6, "rato": 0.4}, SettingError, "sum to less than 1"),
        ({"gato": 0.3, "gato e": 0.4}, SettingError, "gato e"),
    ],
)
def test_invalid_targets_are_rejected(tiny_pipe, targets, error, message):
    with pytest.raises(error, match=message):
        generate(tiny_pipe, "um gato e rato", targets=targets, **SETTINGS)
