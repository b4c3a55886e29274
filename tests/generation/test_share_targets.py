"""The weight for a wanted share: found in a run, reached by it, and said by `generate` too."""

import pytest

import promptweight
from promptweight.errors import SettingError, WordNotFoundError


def test_a_weight_is_found_that_gives_the_share(tiny_pipe):
    found = promptweight.solve(tiny_pipe, "um gato e rato", {"gato": 0.6}, num_inference_steps=4)
    (gato,) = found.found
    assert found.weights == {
        "gato": pytest.approx((gato.weights[1] * gato.weights[2] * gato.weights[3]) ** (1 / 3))
    }
    assert found.weights["gato"] > 1
    assert abs(gato.shares[-1] - 0.6) < abs(gato.shares[0] - 0.6) / 3
    assert found.image.size == (32, 32)


def test_a_share_may_stand_in_the_prompt(tiny_pipe):
    assert (
        promptweight.solve(tiny_pipe, "um (gato:=60%) e rato", num_inference_steps=2).found[0].target == 0.6
    )


def test_what_asks_for_nothing_is_refused(tiny_pipe):
    with pytest.raises(SettingError, match="asks for no share"):
        promptweight.solve(tiny_pipe, "um gato", num_inference_steps=2)
    with pytest.raises(SettingError, match="num_inference_steps"):
        promptweight.solve(tiny_pipe, "um gato", {"gato": 0.5}, num_inference_steps=1)
    with pytest.raises(WordNotFoundError):
        promptweight.solve(tiny_pipe, "um gato", {"rato": 0.5}, num_inference_steps=2)


def test_generate_tells_what_was_found(tiny_pipe):
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
