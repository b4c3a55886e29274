"""Biased attention through the kernel that runs without a bias.

A fused kernel that accepts no bias (flash attention on CUDA) would give way to a slower one as soon as a word
has a weight. Two identities avoid that. With p the probabilities and o the output without weights, and
w_j = e^b_j the weights of a few keys, the output and the log-sum-exp under the weights are exactly

    D = 1 + Σ_j (w_j − 1)·p_j        o' = (o + Σ_j (w_j − 1)·p_j·v_j) / D        lse' = lse + log D

which requires only the columns of those keys. Rounding in o is divided by D, and D ≥ min(1, w), so this
closed form is for weights that are not much below 1 (`CLOSED_FORM_RANGE`): a word that is masked would cancel
nearly all of an o that was rounded with it. For other weights, attention runs once over the keys that never
have a bias (in joint attention, the image's) and once over the others with their bias, and

    lse' = log(e^lse₁ + e^lse₂)        o' = o₁·e^(lse₁ − lse') + o₂·e^(lse₂ − lse')

holds for any bias. Where every key may have a bias (cross-attention), the kernel with a bias runs.

The choice follows from the weights that the host knows, and is made again whenever they change. Weights that
only the device knows, those found for shares, use the second identity. Neither waits for the device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

from promptweight.attention.kernels.sdpa import (
    OPERATORS,
    attend_with_lse,
    cast_bias,
    compute_columns,
    gather_columns,
    has_grouped_heads,
    has_operator,
)

MIN_KEYS_WITHOUT_BIAS: dict[tuple[str, SDPBackend], int] = {("cuda", SDPBackend.FLASH_ATTENTION): 512}
"""Kernels without a bias, by device type and the choice of torch's public function.

The value is the number of keys from which these identities are used. Over the few keys of a text alone,
attention is bound by memory, not by arithmetic: there a kernel with a bias takes as long as one without, and
less than one with a correction.
"""

CLOSED_FORM_RANGE = (0.5, 1e6)
"""Minimum and maximum weight of the closed form: rounding at most doubles, and nothing overflows."""

BiasedOutput = tuple[Tensor, Tensor, Tensor]
"""Output, its log-sum-exp with the bias, and the bias in the type in which it was added."""


def has_closed_form(bias: float) -> bool:
    """Return True if the closed form is accurate for a bias: the logarithm of a weight in its range."""
    return math.log(CLOSED_FORM_RANGE[0]) <= bias <= math.log(CLOSED_FORM_RANGE[1])


def can_split_bias(query: Tensor) -> bool:
    """Return True if the device of a layer has kernels without a bias."""
    return any(device == query.device.type for device, _ in MIN_KEYS_WITHOUT_BIAS)


def split_bias_attention(
    query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor, biased: slice, columns: Tensor | None
) -> BiasedOutput | None:
    """Compute attention with a bias through the kernel that would run without it.

    Args:
        query: (batch, heads, queries, dim).
        key: (batch, heads, keys, dim).
        value: (batch, heads, keys, dim).
        bias: added to the logits, (batch, 1, 1 or queries, keys).
        biased: the range of keys, at the beginning or the end, outside of which the bias is 0.
        columns: the keys with a bias, (batch, n) int64, each once, padded with keys without one, if all
            their weights are in the closed form's range; else None.

    Returns:
        As `BiasedOutput`; None where the kernel accepts a bias, but never None inside a compiled graph.
    """
    if torch.compiler.is_compiling():
        return _traced_split(query, key, value, bias, biased.start, biased.stop, columns)
    if has_grouped_heads(query, key):
        return None
    backend = SDPBackend(torch._fused_sdp_choice(query, key, value, None, 0.0, False))
    kernel = (query.device.type, backend)
    if key.shape[2] < MIN_KEYS_WITHOUT_BIAS.get(kernel, key.shape[2] + 1):
        return None
    if not has_operator(OPERATORS[kernel], query.device, query.dtype):
        return None
    if columns is not None:
        output, lse = attend_with_lse(query, key, value)
        probabilities = compute_columns(query, key, lse, columns)
        excess = gather_columns(bias, columns, dim=3).float().expm1()
        values = gather_columns(value, columns, dim=2)
        return (*correct_output(output, lse, probabilities, excess, values), bias)
    free = slice(biased.stop, None) if biased.start == 0 else slice(biased.start)
    if biased.stop - biased.start == key.shape[2]:
        return None
    cast = cast_bias(bias, query)
    return (
        *merge_outputs(
            attend_with_lse(query, key[:, :, free], value[:, :, free]),
            attend_with_lse(query, key[:, :, biased], value[:, :, biased], bias=cast[..., biased]),
        ),
        cast,
    )


@torch.library.custom_op("promptweight::split_bias_attention", mutates_args=())
def _traced_split(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, start: int, stop: int, columns: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Run `split_bias_attention`, or the biased kernel where it gives None, as one node of a graph."""
    result = split_bias_attention(query, key, value, bias=bias, biased=slice(start, stop), columns=columns)
    if result is None:
        cast = cast_bias(bias, query)
        result = (*attend_with_lse(query, key, value, bias=cast), cast)
    output, lse, cast = result
    # float32, so that the type is the same for both branches; a copy, since torch forbids returning an input
    return output.contiguous(), lse.contiguous(), cast.to(torch.float32, copy=True)


@_traced_split.register_fake
def _fake_split(
    query: Tensor,
    _key: Tensor,
    value: Tensor,
    bias: Tensor,
    _start: int,
    _stop: int,
    _columns: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs without values, for tracing."""
    output = query.new_empty((*query.shape[:3], value.shape[3]))
    lse = query.new_empty(query.shape[:3], dtype=torch.float32)
    return output, lse, torch.empty_like(bias, dtype=torch.float32)


def correct_output(
    output: Tensor, lse: Tensor, probabilities: Tensor, excess: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute output and log-sum-exp under weights from those without, by the closed form.

    Args:
        output: attention without weights, (batch, heads, queries, dim).
        lse: its log-sum-exp, (batch, heads, queries) float32.
        probabilities: its probabilities of the weighted keys, (batch, heads, queries, n) float32.
        excess: the weights of these keys less 1, broadcastable to `probabilities`.
        values: the values of these keys, (batch, heads, n, dim).
    """
    added = probabilities * excess
    total = 1 + added.sum(-1)
    weighted = torch.matmul(added, values.float()).add_(output).div_(total.unsqueeze(-1))
    return weighted.to(output.dtype), lse + total.log()


def merge_outputs(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Merge attention over two disjoint sets of keys, from the output and log-sum-exp of each."""
    lse = torch.logaddexp(first[1], second[1])
    parts = [output * (own - lse).exp().unsqueeze(-1) for output, own in (first, second)]
    return (parts[0] + parts[1]).to(first[0].dtype), lse
