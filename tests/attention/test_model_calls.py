"""Hooks around the calls of a model, compiled or not, and the device of its computation."""

import pytest
import torch

from promptweight.attention.model_calls import add_call_hooks, find_execution_device, unwrap_compiled


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def run_graph(graph, inputs):
    """Compiler backend that runs a graph unchanged."""
    return graph


def test_add_call_hooks_replaces_arguments_and_output_until_removed():
    calls = []

    def listener(model, args, kwargs):
        calls.append((type(model).__name__, len(args), list(kwargs)))

    def double(model, args, output):
        return output * 2

    linear = torch.nn.Linear(2, 2)
    in_place = torch.nn.Linear(2, 2)
    in_place.compile(backend=run_graph)
    wrapped = torch.compile(torch.nn.Linear(2, 2), backend=run_graph)
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
        assert calls[-2:] == [(type(model).__name__, 1, []), (type(model).__name__, 0, ["input"])]
    assert len(calls) == 6
    for model in (linear, in_place, wrapped):  # arguments may be replaced
        end = add_call_hooks(model, lambda _model, args, kwargs: ((args[0] * 0,), kwargs), lambda *_: None)
        assert torch.equal(model(torch.ones(1, 2)), model.bias[None])
        end()
    assert unwrap_compiled(linear) is linear
    assert unwrap_compiled(wrapped) is wrapped._orig_mod


def test_model_compiled_again_under_hooks_stays_compiled():
    model = torch.nn.Linear(2, 2)
    model.compile(backend=run_graph)
    end = add_call_hooks(model, lambda *_: None, lambda *_: None)
    model.compile(backend=run_graph)
    compiled = model._compiled_call_impl
    end()
    assert model._compiled_call_impl is compiled


def test_find_execution_device_without_hooks_is_none(tiny):
    assert find_execution_device(tiny.unet()) is None
