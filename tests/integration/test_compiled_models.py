"""Compiled models in a session: the pipeline's own image, and no more graphs than without a session."""

import pytest
import torch

from promptweight.attention import attach

SETTINGS = {"height": 16, "width": 16, "num_inference_steps": 4}
TWO_GRIDS = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
"""A smaller UNet with cross-attention on two grids."""


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class Backend:
    """Compiler backend that counts graphs, and runs them unchanged."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, inputs):
        self.graphs += 1
        return graph


def compile_model(pipe, how, backend):
    name = "transformer" if getattr(pipe, "unet", None) is None else "unet"
    model = getattr(pipe, name)
    if how == "wrapped":
        setattr(pipe, name, torch.compile(model, backend=backend, fullgraph=True))
    elif how == "in place":
        model.compile(backend=backend, fullgraph=True)
    elif model._repeated_blocks:
        model.compile_repeated_blocks(backend=backend, fullgraph=True)
    else:  # diffusers does not name the blocks of Stable Diffusion 3
        for block in model.transformer_blocks:
            block.compile(backend=backend, fullgraph=True)
    return model


def processors(model):
    return [(name, each, type(each)) for name, each in model.attn_processors.items()]


@pytest.mark.parametrize(
    ("family", "how"),
    [
        ("unet", "wrapped"),
        ("unet", "by blocks"),
        ("sd3", "in place"),
        ("sd3", "by blocks"),
        ("flux", "wrapped"),
        ("flux", "by blocks"),
    ],
)
def test_session_compiles_no_more_graphs_than_the_pipeline(tiny, family, how):
    if family == "unet":
        pipe, encoded, pooled = tiny.pipeline(**TWO_GRIDS), tiny.encode("um gato vermelho"), {}
    elif family == "sd3":
        pipe = tiny.sd3_pipeline(qk_norm="rms_norm", dual_attention_layers=(0,))
        encoded, pooled = tiny.encode("um gato vermelho"), tiny.pooled(1)
    else:
        pipe, encoded = tiny.flux_pipeline(), tiny.encode("um gato vermelho", negative=None)
        pooled = {"pooled_prompt_embeds": torch.ones(1, 32)}
    backend = Backend()
    model = compile_model(pipe, how, backend)
    before, called = processors(model), model._compiled_call_impl
    plain = tiny.run(pipe, encoded.inputs | pooled, **SETTINGS)
    alone, backend.graphs = backend.graphs, 0
    with attach(pipe, encoded) as session:
        assert torch.equal(tiny.run(pipe, session.inputs | pooled, **SETTINGS), plain)
    assert 0 < backend.graphs <= alone
    assert all((slot.counts == 4).all() for slot in session.maps.recording.slots)
    assert processors(model) == before
    assert model._compiled_call_impl is called
    assert torch.equal(tiny.run(pipe, encoded.inputs | pooled, **SETTINGS), plain)
    assert backend.graphs <= alone  # what was compiled before is still good


def test_weights_that_change_during_the_run_need_one_graph(tiny):
    """A ramp has another weight at every step, and one weight is set from outside."""
    prompt = "um gato:1.5{steps=0:1 1:2} vermelho:0.5"
    encoded, pooled = tiny.encode(prompt, weighting="attention"), tiny.pooled(1)

    def drawn(pipe):
        def heavier(_pipe, step, *_):
            if step == 1:
                session.set_weight("vermelho", 3.0)
            return {}

        with attach(pipe, encoded) as session:
            return tiny.run(pipe, session.inputs | pooled, callback_on_step_end=heavier, **SETTINGS)

    expected = drawn(tiny.sd3_pipeline())
    pipe, backend = tiny.sd3_pipeline(), Backend()
    plain = tiny.run(pipe, encoded.inputs | pooled, **SETTINGS)
    compile_model(pipe, "wrapped", backend)
    assert torch.allclose(drawn(pipe), expected, atol=1e-5)
    assert backend.graphs == 1
    assert not torch.allclose(plain, expected, atol=1e-3)
