"""Text encoders that return the numbers of their tokens in place of hidden states.

The token of each row can then be read, however the pipeline cuts, pads and sorts the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_CODE_BASE = 128
"""Numbers below it are exact in every type of model."""

Place = tuple[int, int, int]
"""Numbers of a call of the text encoder, of a text in it, and of a token in the text."""


@dataclass(frozen=True)
class EncoderCall:
    """A call of the text encoder: the ids that it got, (texts, tokens), and its output."""

    ids: Tensor
    output: Any


@contextmanager
def watch_encoder(model: Any) -> Iterator[list[EncoderCall]]:
    """Collect the calls of a text encoder inside the block."""
    calls: list[EncoderCall] = []

    def keep(_model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        calls.append(EncoderCall(_read_ids(args, kwargs), output))

    handle = model.register_forward_hook(keep, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


@contextmanager
def number_tokens(model: Any, calls: Sequence[EncoderCall]) -> Iterator[list[Tensor]]:
    """Have a text encoder return the numbers of its tokens inside the block; collect the ids of each call.

    Args:
        model: the text encoder.
        calls: its calls for the same texts, whose outputs are changed in place of new ones.
    """
    own: Any = vars(model).get("forward")
    ids: list[Tensor] = []

    def number(*args: Any, **kwargs: Any) -> Any:
        ids.append(_read_ids(args, kwargs))
        return _number_rows(calls[len(ids) - 1], ids[-1], len(ids) - 1)

    def number_again(*_: Any) -> Any:  # after hooks of others, which may change the output
        return _number_rows(calls[len(ids) - 1], ids[-1], len(ids) - 1)

    model.forward = number
    handle = model.register_forward_hook(number_again)
    try:
        yield ids
    finally:
        handle.remove()
        del model.forward
        if own is not None:
            model.forward = own


def _read_ids(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """Return the token ids of a text encoder's call, (texts, tokens)."""
    ids: Tensor = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
    return ids


def _number_rows(call: EncoderCall, ids: Tensor, number: int) -> Any:
    """Return the output of a call with hidden states (texts, tokens, dim) that name their tokens.

    The first channels are the number of the call, of the text, and of the token: its quotient by
    `_CODE_BASE`, and the remainder plus 1. `_decode` reads them.
    """
    texts, length = ids.shape
    positions = torch.arange(length)
    codes = torch.stack(
        [
            torch.full((texts, length), number),
            torch.arange(texts)[:, None].expand(texts, length),
            (positions // _CODE_BASE).expand(texts, length),
            (positions % _CODE_BASE + 1).expand(texts, length),
        ],
        -1,
    )

    def replace(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point():
            return F.pad(codes.to(value.device, value.dtype), (0, value.shape[-1] - codes.shape[-1]))
        if isinstance(value, dict):
            return type(value)(**{name: replace(each) for name, each in value.items()})
        if isinstance(value, (tuple, list)):
            return type(value)(replace(each) for each in value)
        return value

    return replace(call.output)


def read_places(codes: Tensor) -> list[Place | None]:
    """Return the numbers of call, text and token of rows of `_number_rows`, (rows, dim) or (rows, …, dim)."""
    return [_decode(row) for row in codes.flatten(1)[:, :4].long().tolist()]


def _decode(code: Sequence[int]) -> Place | None:
    """Return the numbers of call, text and token of a row of `_number_rows`; None for a row of zeros."""
    call, text, high, low = code
    return (call, text, high * _CODE_BASE + low - 1) if low else None
