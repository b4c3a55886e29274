"""The calls of a model in the first step of a run of its pipeline."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from promptweight.attention.call_arguments import get_argument, set_argument
from promptweight.attention.model_calls import ModelArguments, add_call_hooks, unwrap_compiled
from promptweight.errors import AttachError
from promptweight.messages import message

MAX_CALLS = 2
"""Most calls of a model in a step: one for the prompt, and one for the negative prompt."""


@dataclass(frozen=True)
class ModelCall:
    """The arguments of one call of a model, which later steps of the run do not change."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def get(self, argument: tuple[int, str]) -> Any:
        """Return an argument by position and name."""
        return get_argument(self.args, self.kwargs, *argument)

    def with_value(self, argument: tuple[int, str], value: Any) -> ModelCall:
        """Return the call with another value of an argument."""
        args, kwargs = set_argument(self.args, self.kwargs, *argument, value)
        return replace(self, args=args, kwargs=kwargs)

    def list_arguments(self, model: Any) -> dict[tuple[int, str], Any]:
        """Return the values of all arguments, by position and name in the signature of the model."""
        names = list(inspect.signature(model.forward).parameters)
        values = dict(zip(names, self.args, strict=False)) | self.kwargs
        return {(names.index(name), name): value for name, value in values.items() if name in names}


class _StepIsDoneError(Exception):
    """Ends a run of a pipeline after its first step."""


@torch.no_grad()
def record_first_step(pipe: Any, model: Any, inputs: Mapping[str, Any]) -> list[ModelCall]:
    """Run a pipeline until its first step is done; return the calls of its model.

    The run leaves the pipeline, the processors of its model and torch's random numbers as they were.

    Args:
        pipe: the pipeline.
        model: its denoising model, as the pipeline calls it.
        inputs: the keyword arguments of the pipeline's call.

    Returns:
        At most one call more than `MAX_CALLS`.

    Raises:
        AttachError: the run ends without a step of the pipeline's scheduler.
    """
    calls: list[ModelCall] = []

    def keep(_model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModelArguments | None:
        calls.append(ModelCall(_copy(args), _copy(kwargs)))
        if len(calls) > MAX_CALLS:
            raise _StepIsDoneError
        return None

    def stop(*_args: Any, **_kwargs: Any) -> None:
        raise _StepIsDoneError

    scheduler, attributes = pipe.scheduler, dict(vars(pipe))
    layers = [each for each in unwrap_compiled(model).modules() if hasattr(each, "processor")]
    processors = [each.processor for each in layers]
    remove = add_call_hooks(model, keep, lambda *_: None)
    pipe.scheduler = copy.deepcopy(scheduler)  # a run sets its timesteps
    pipe.scheduler.step = stop
    pipe.set_progress_bar_config(disable=True)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(0)  # that of every trial
            pipe(**inputs)
        raise AttachError(message("probe-scheduler", pipeline=type(pipe).__name__))
    except _StepIsDoneError:
        pass
    finally:
        remove()
        pipe.scheduler = scheduler
        vars(pipe).clear()
        vars(pipe).update(attributes)
        for layer, processor in zip(layers, processors, strict=True):
            if layer.processor is not processor:  # a run that is cut short may leave its own
                layer.processor = processor
    return calls


def _copy(value: Any) -> Any:
    """Return a value with copies of its tensors."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_copy(each) for each in value)
    return value
