"""Compiled models: the pipeline's own picture, and no more graphs over the steps than without a session."""

import pytest
import torch

from promptweight.attention import attach
from promptweight.attention.model_calls import add_call_hooks, unwrap_compiled

SETTINGS = {"height": 16, "width": 16, "num_inference_steps": 4}


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class Backend:
    """Counts the graphs it is given, and runs them as they are."""

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
def test_no_more_graphs_than_without_a_session(tiny, family, how):
    if family == "unet":
        pipe, encoded, pooled = tiny.pipeline(), tiny.encode("um gato vermelho"), {}
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


def test_weights_that_change_while_the_picture_is_made(tiny):
    """A ramp is another weight at every step, and one is set from outside: still one graph."""
    encoded, pooled = tiny.encode("um gato:1.5{to=2.5} vermelho:0.5"), tiny.pooled(1)

    def drawn(pipe):
        def heavier(_pipe, step, *_):
            if step == 1:
                session.set_weight("vermelho", 3.0)
            return {}

        with attach(pipe, encoded, space="attention") as session:
            return tiny.run(pipe, session.inputs | pooled, callback_on_step_end=heavier, **SETTINGS)

    wanted = drawn(tiny.sd3_pipeline())
    pipe, backend = tiny.sd3_pipeline(), Backend()
    plain = tiny.run(pipe, encoded.inputs | pooled, **SETTINGS)
    compile_model(pipe, "wrapped", backend)
    assert torch.allclose(drawn(pipe), wanted, atol=1e-5)
    assert backend.graphs == 1
    assert not torch.allclose(plain, wanted, atol=1e-3)


def test_listening_ends_and_leaves_the_model_as_it_was():
    heard = []

    def listener(model, args, kwargs):
        heard.append((type(model).__name__, len(args), list(kwargs)))

    def double(model, args, output):
        return output * 2

    linear = torch.nn.Linear(2, 2)
    in_place = torch.nn.Linear(2, 2)
    in_place.compile(backend=Backend())
    wrapped = torch.compile(torch.nn.Linear(2, 2), backend=Backend())
    for model in (linear, in_place, wrapped):
        compiled = model._compiled_call_impl
        alone = model(torch.ones(1, 2))
        end = add_call_hooks(model, listener, double)
        assert torch.equal(model(torch.ones(1, 2)), 2 * alone)
        model(input=torch.ones(1, 2))
        end()
        assert torch.equal(model(torch.ones(1, 2)), alone)
        assert model._compiled_call_impl is compiled
        assert not model._forward_pre_hooks
        assert not model._forward_hooks
        assert heard[-2:] == [(type(model).__name__, 1, []), (type(model).__name__, 0, ["input"])]
    assert len(heard) == 6
    for model in (linear, in_place, wrapped):  # arguments may be replaced
        end = add_call_hooks(model, lambda _model, args, kwargs: ((args[0] * 0,), kwargs), lambda *_: None)
        assert torch.equal(model(torch.ones(1, 2)), model.bias[None])
        end()
    assert unwrap_compiled(linear) is linear
    assert unwrap_compiled(wrapped) is wrapped._orig_mod


def test_a_model_compiled_anew_while_it_is_listened_to_stays_compiled():
    model = torch.nn.Linear(2, 2)
    model.compile(backend=Backend())
    end = add_call_hooks(model, lambda *_: None, lambda *_: None)
    model.compile(backend=Backend())
    compiled = model._compiled_call_impl
    end()
    assert model._compiled_call_impl is compiled
