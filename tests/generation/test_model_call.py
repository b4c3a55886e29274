"""A captured call of the denoiser."""

import pytest

from promptweight.attention import attach
from promptweight.conditioning import encode_prompts
from promptweight.generation.model_call import capture_call


class Recorder:
    """Weights of LoRAs, which records the steps that are set."""

    def __init__(self):
        self.steps = []

    def set_step(self, step, steps):
        self.steps.append((step, steps))


@pytest.mark.parametrize("step", [0, 2])
def test_loras_have_the_weights_of_the_captured_step(tiny_pipe, step):
    loras = Recorder()
    with attach(tiny_pipe, encode_prompts(tiny_pipe, "um gato", in_session=True), record=False) as session:
        call = capture_call(tiny_pipe, session, {"num_inference_steps": 4}, 1, step, loras)
    assert loras.steps == [(each, 4) for each in range(1, step + 1)]
    assert call.number == step
