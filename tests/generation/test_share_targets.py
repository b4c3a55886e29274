"""Weights for target shares: `solve`, and the same targets in `generate`."""

import pytest

import promptweight
from promptweight.errors import SettingError, WordNotFoundError


def test_solved_weight_gives_the_target_share(tiny_pipe):
    found = promptweight.solve(tiny_pipe, "um gato e rato", {"gato": 0.6}, num_inference_steps=4)
    (gato,) = found.results
    assert found.weights == {
        "gato": pytest.approx((gato.weights[1] * gato.weights[2] * gato.weights[3]) ** (1 / 3))
    }
    assert found.weights["gato"] > 1
    assert abs(gato.shares[-1] - 0.6) < abs(gato.shares[0] - 0.6) / 3
    assert found.image.size == (32, 32)


def test_prompt_can_hold_the_target_share(tiny_pipe):
    assert (
        promptweight.solve(tiny_pipe, "um (gato:=60%) e rato", num_inference_steps=2).results[0].target == 0.6
    )


def test_solve_without_targets_is_rejected(tiny_pipe):
    with pytest.raises(SettingError, match="has no target share"):
        promptweight.solve(tiny_pipe, "um gato", num_inference_steps=2)
    with pytest.raises(SettingError, match="num_inference_steps"):
        promptweight.solve(tiny_pipe, "um gato", {"gato": 0.5}, num_inference_steps=1)
    with pytest.raises(WordNotFoundError):
        promptweight.solve(tiny_pipe, "um gato", {"rato": 0.5}, num_inference_steps=2)


def test_generate_with_targets_warns_and_records_them(tiny_pipe):
    settings = {"seed": 1, "num_inference_steps": 2}
    plain = promptweight.generate("um gato e rato", tiny_pipe, **settings)
    result = promptweight.generate("um gato e rato", tiny_pipe, targets={"gato": 0.6}, **settings)
    assert result.settings["targets"] == {"gato": 0.6}
    assert any("'gato'" in warning and "60.0%" in warning for warning in result.warnings)
    assert result.images[0].tobytes() != plain.images[0].tobytes()
    written = promptweight.generate("um (gato:=60%) e rato", tiny_pipe, **settings)
    assert written.images[0].tobytes() == result.images[0].tobytes()
    balanced = promptweight.generate("um gato e rato", tiny_pipe, balance=True, **settings)
    assert sum("50.0%" in warning for warning in balanced.warnings) == 2
    assert "targets" not in plain.settings
    assert "balance" not in plain.settings
