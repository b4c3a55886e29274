"""Weights on the logits without leaving the kernel that runs when there are none.

A fused kernel that takes no bias, flash attention on CUDA, would be given up for a slower one as soon as a
word has a weight. It need not be. With p the probabilities and o the output without weights, and w_j = e^b_j
the weights of a few keys, the output and the log-sum-exp with them are, exactly,

    D = 1 + Σ_j (w_j − 1)·p_j        o' = (o + Σ_j (w_j − 1)·p_j·v_j) / D        lse' = lse + log D

from those keys' columns alone. Rounding in o is divided by D, and D ≥ min(1, w): so this is for weights that
are not much below 1 (`CLOSED_FORM_RANGE`). A word that is to vanish would take away nearly all of an o that was rounded
with it. For these, attention over the keys that never have a bias, in joint attention the image's, and over
the others with theirs are two calls, and

    lse' = log(e^lse₁ + e^lse₂)        o' = o₁·e^(lse₁ − lse') + o₂·e^(lse₂ − lse')

holds for any bias whatever. Where no keys are free of it, in cross-attention, the other kernel it is.

Which of these it will be follows from the weights as the host knows them, anew whenever they are changed.
Weights that only the device knows, those found for shares, go by the second way. Neither waits
for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

from promptweight.attention.kernels.sdpa import (
    OPERATORS,
    attend_with_lse,
    cast_bias,
    compute_columns,
    gather_columns,
    has_operator,
)

MIN_KEYS_WITHOUT_BIAS: dict[tuple[str, SDPBackend], int] = {("cuda", SDPBackend.FLASH_ATTENTION): 512}
"""The kernels that take no bias, by device type and the choice of torch's public function.

With each, from how many keys on weights act round it. Over the few keys of a text alone, attention waits for
memory and not for arithmetic: there a kernel with a bias is as quick, and quicker than one and a correction.
"""

CLOSED_FORM_RANGE = (0.5, 1e6)
"""The least and the largest weight of the closed form: rounding at most doubles, and nothing overflows."""

BiasedOutput = tuple[Tensor, Tensor, Tensor]
"""Output, log-sum-exp with the bias, and the bias as it acted, with which to take the probabilities."""


def in_closed_form_range(weight: float) -> bool:
    """Whether the closed form bears a weight on the logits; its sign acts elsewhere."""
    return CLOSED_FORM_RANGE[0] <= abs(weight) <= CLOSED_FORM_RANGE[1]


def can_split_bias(query: Tensor) -> bool:
    """Whether the device of a layer has kernels that take no bias."""
    return any(device == query.device.type for device, _ in MIN_KEYS_WITHOUT_BIAS)


def split_bias_attention(
    query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor, biased: slice, columns: Tensor | None
) -> BiasedOutput | None:
    """Attention with a bias through the kernel that would run without it; None where it takes the bias.

    Args:
        query: (batch, heads, queries, dim).
        key: (batch, heads, keys, dim).
        value: (batch, heads, keys, dim).
        bias: added to the logits, (batch, 1, 1 or queries, keys).
        biased: the stretch of keys, at the beginning or the end, outside of which the bias is 0.
        columns: the keys with a bias, (batch, n) int64, each once among others without one, if all their
            weights are gentle; None if not.

    Returns:
        As `BiasedOutput`; inside a compiled graph never None.
    """
    if torch.compiler.is_compiling():
        return traced_apart(query, key, value, bias, biased.start, biased.stop, columns)
    backend = SDPBackend(torch._fused_sdp_choice(query, key, value, None, 0.0, False))
    place = (query.device.type, backend)
    if key.shape[2] < MIN_KEYS_WITHOUT_BIAS.get(place, key.shape[2] + 1):
        return None
    if not has_operator(OPERATORS[place], query.device, query.dtype):
        return None
    if columns is not None:
        output, lse = attend_with_lse(query, key, value)
        found = compute_columns(query, key, lse, columns)
        excess = gather_columns(bias, columns, dim=3).float().expm1()
        return (*correct_output(output, lse, found, excess, gather_columns(value, columns, dim=2)), bias)
    free = slice(biased.stop, None) if biased.start == 0 else slice(biased.start)
    if biased.stop - biased.start == key.shape[2]:
        return None
    acting = cast_bias(bias, query)
    assert acting is not None
    return (
        *merge_outputs(
            attend_with_lse(query, key[:, :, free], value[:, :, free]),
            attend_with_lse(query, key[:, :, biased], value[:, :, biased], bias=acting[..., biased]),
        ),
        acting,
    )


@torch.library.custom_op("promptweight::attend_apart", mutates_args=())
def traced_apart(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, start: int, stop: int, columns: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`split_bias_attention` as one step of a compiled graph, with the biased kernel where that returns None."""
    acted = split_bias_attention(query, key, value, bias=bias, biased=slice(start, stop), columns=columns)
    if acted is None:
        acting = cast_bias(bias, query)
        assert acting is not None
        acted = (*attend_with_lse(query, key, value, bias=acting), acting)
    output, lse, acting = acted
    # float32, so that its type does not depend on the way; and never the input itself, which torch forbids
    return output.contiguous(), lse.contiguous(), acting.to(torch.float32, copy=True)


@traced_apart.register_fake
def shapes_of_traced_apart(
    query: Tensor,
    _key: Tensor,
    value: Tensor,
    bias: Tensor,
    _start: int,
    _stop: int,
    _columns: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs without values, for tracing."""
    output = query.new_empty((*query.shape[:3], value.shape[3]))
    lse = query.new_empty(query.shape[:3], dtype=torch.float32)
    return output, lse, torch.empty_like(bias, dtype=torch.float32)


def correct_output(
    output: Tensor, lse: Tensor, found: Tensor, excess: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp under weights, from those without: the closed form.

    Args:
        output: attention without weights, (batch, heads, queries, dim).
        lse: its log-sum-exp, (batch, heads, queries) float32.
        found: its probabilities of the weighted keys, (batch, heads, queries, n) float32.
        excess: their weights less 1, broadcastable to that.
        values: their values, (batch, heads, n, dim).
    """
    added = found * excess
    total = 1 + added.sum(-1)
    weighted = torch.matmul(added, values.float()).add_(output).div_(total.unsqueeze(-1))
    return weighted.to(output.dtype), lse + total.log()


def merge_outputs(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Attention over the keys of two calls together, from the output and log-sum-exp of each."""
    lse = torch.logaddexp(first[1], second[1])
    parts = [output * (own - lse).exp().unsqueeze(-1) for output, own in (first, second)]
    return (parts[0] + parts[1]).to(first[0].dtype), lse
