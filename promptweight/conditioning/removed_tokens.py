"""Text encoders that read a text without some of its tokens, inside a pipeline's own `encode_prompt`.

The tokens move behind all others, where no attention reaches them, and those behind them move up, as in a
text that never had them. The rows of the others return to their places, so that the pipeline cuts, pads and
masks them as it does those of the whole text.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from promptweight.conditioning.numbered_tokens import EncoderCall

HiddenTokens = Mapping[tuple[int, int], Collection[int]]
"""Indices of tokens by the number of the call of the text encoder, and of the text in it."""


@contextmanager
def remove_tokens(model: Any, calls: Sequence[EncoderCall], hidden: HiddenTokens) -> Iterator[None]:
    """Have a text encoder read its texts without the hidden tokens inside the block.

    Args:
        model: the text encoder.
        calls: its calls for the same texts; their rows remain in the places of the hidden tokens.
        hidden: the hidden tokens.
    """
    own, forward = vars(model).get("forward"), model.forward
    compiled = getattr(model, "_orig_mod", model)  # in the wrapper of `torch.compile`
    parameters = [name for name in inspect.signature(type(compiled).forward).parameters if name != "self"]
    numbers = iter(range(len(calls)))

    def read_without(*args: Any, **kwargs: Any) -> Any:
        number, arguments = next(numbers), dict(zip(parameters, args, strict=False)) | kwargs
        ids: Tensor = arguments["input_ids"]
        is_hidden = torch.zeros_like(ids, dtype=torch.bool)
        for text in range(len(ids)):
            is_hidden[text, list(hidden.get((number, text), ()))] = True
        if not bool(is_hidden.any()):
            return calls[number].output
        if arguments.get("attention_mask") is None:
            arguments["attention_mask"] = torch.ones_like(ids)
        order = is_hidden.int().argsort(dim=1, stable=True)
        moved = {name: _move(name, value, order, is_hidden) for name, value in arguments.items()}
        return _restore(forward(**moved), calls[number].output, order, is_hidden)

    model.forward = read_without
    try:
        yield
    finally:
        del model.forward
        if own is not None:
            model.forward = own


def _move(name: str, value: Any, order: Tensor, is_hidden: Tensor) -> Any:
    """Return an argument of a call with the columns of its tokens, (…, texts, tokens), in another order."""
    if not isinstance(value, Tensor) or value.shape[-2:] != order.shape:
        return value
    if name == "attention_mask":
        value = value.masked_fill(is_hidden, 0)
    elif name == "position_ids":
        value = value - is_hidden.cumsum(1)
    return value.gather(-1, order.expand_as(value))


def _restore(output: Any, plain: Any, order: Tensor, is_hidden: Tensor) -> Any:
    """Return an output with the rows of its tokens in their places, and `plain` rows in the hidden ones."""
    if isinstance(output, Tensor):
        if output.ndim != 3 or output.shape[:2] != order.shape:
            return output
        in_place = torch.empty_like(output).scatter(1, order[..., None].expand_as(output), output)
        return torch.where(is_hidden[..., None], plain, in_place)
    if isinstance(output, dict):
        pairs = [(name, value, plain[name]) for name, value in output.items()]
        return type(output)(**{name: _restore(value, own, order, is_hidden) for name, value, own in pairs})
    if isinstance(output, (tuple, list)):
        rows = zip(output, plain, strict=True)
        return type(output)(_restore(value, own, order, is_hidden) for value, own in rows)
    return output
