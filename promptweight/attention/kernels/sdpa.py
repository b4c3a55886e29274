"""Scaled dot-product attention that also returns chosen columns of its softmax.

A fused kernel never writes the matrix of probabilities P, but it computes the log-sum-exp of every row. Any
column j of P follows from it, exactly, in float32 for every type of model, and at the cost of that column:

    lse(n) = log Σ_j exp(q(n)·k(j)·scale + bias(n, j))
    P(n, j) = exp(q(n)·k(j)·scale + bias(n, j) − lse(n))

The kernel is the one that `torch.nn.functional.scaled_dot_product_attention` chooses for the same arguments,
so recording columns does not change one bit of the output. The operators that return the log-sum-exp are
private to torch. Only this module calls them, after one trial of each on the device. Where an operator is
missing or wrong, the output comes from the public function and the log-sum-exp from an explicit sum.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend

MAX_LSE_ELEMENTS = 1 << 24
"""Maximum number of logits that `compute_lse` holds at a time (64 MiB of float32)."""


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    columns: Tensor | None = None,
    rows: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Compute attention and the probabilities of the keys `columns`.

    Args:
        query: (batch, heads, queries, dim).
        key: (batch, key heads, keys, dim); each head of the keys is for as many heads of the queries.
        value: (batch, key heads, keys, dim).
        bias: added to the logits, broadcastable to (batch, heads, queries, keys); of booleans, which keys
            each query attends to.
        columns: int64 key positions, (n_columns,) for all rows or (len(rows), n_columns) for each row.
        rows: int64 batch indices for which columns are returned; all when None.
        scale: factor of the logits, 1/√dim when None.

    Returns:
        The output (batch, heads, queries, dim), equal bit for bit to
        `F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)`, with `enable_gqa`
        for grouped heads, and the probabilities (rows, heads, queries, n_columns) in float32, or None when
        `columns` is None. The probabilities of a query that attends to no key are 0.
    """
    bias = cast_bias(bias, query)
    if columns is None:
        return attend_publicly(query, key, value, bias, scale), None
    output, lse = attend_with_lse(query, key, value, bias=bias, scale=scale)
    return output, compute_columns(query, key, lse, columns, bias=bias, rows=rows, scale=scale)


def attend_with_lse(
    query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None = None, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Compute attention and the float32 natural log-sum-exp of its logits, (batch, heads, queries)."""
    bias = cast_bias(bias, query)
    if torch.compiler.is_compiling():
        return _traced_attend(query, key, value, bias, scale)
    if not has_grouped_heads(query, key):
        choice = torch._fused_sdp_choice(query, key, value, bias, 0.0, False, scale=scale)
        operator = OPERATORS.get((query.device.type, SDPBackend(choice)))
        if operator is not None and has_operator(operator, query.device, query.dtype):
            return operator(query, key, value, bias, scale)
    output = attend_publicly(query, key, value, bias, scale)
    return output, compute_lse(query, key, bias=bias, scale=scale)


def attend_publicly(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float | None = None
) -> Tensor:
    """Compute attention by torch's public function."""
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, scale=scale, enable_gqa=has_grouped_heads(query, key)
    )


@torch.library.custom_op("promptweight::attend_with_lse", mutates_args=())
def _traced_attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor]:
    """Run `attend_with_lse` as one node of a compiled graph; the choice of a kernel cannot be traced."""
    output, lse = attend_with_lse(query, key, value, bias=bias, scale=scale)
    return output.contiguous(), lse.contiguous()


@_traced_attend.register_fake
def _fake_attend(
    query: Tensor, _key: Tensor, value: Tensor, _bias: Tensor | None, _scale: float | None
) -> tuple[Tensor, Tensor]:
    """Return outputs without values, for tracing."""
    output = query.new_empty((*query.shape[:3], value.shape[3]))
    return output, query.new_empty(query.shape[:3], dtype=torch.float32)


def compute_columns(
    query: Tensor,
    key: Tensor,
    lse: Tensor,
    columns: Tensor,
    *,
    bias: Tensor | None = None,
    rows: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Compute columns of the softmax from its row-wise log-sum-exp `lse`; arguments as in `attend`.

    Returns:
        Probabilities (rows, heads, queries, n_columns) in float32.
    """
    if bias is not None:
        bias = cast_bias(bias, query)
        bias = bias.expand(query.shape[0], *bias.shape[1:])
    if rows is not None:
        query, key, lse = (tensor.index_select(0, rows) for tensor in (query, key, lse))
        bias = None if bias is None else bias.index_select(0, rows)
    chosen = repeat_heads(query, gather_columns(key, columns, dim=2))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    logits = torch.matmul(query.float(), chosen.float().transpose(-1, -2)).mul_(scale)
    if bias is not None:
        logits += gather_columns(bias, columns, dim=3).float()
    finite = lse.masked_fill(lse == -torch.inf, 0)  # of queries that attend to no key
    return logits.sub_(finite.unsqueeze(-1)).exp_()


def compute_rows(
    query: Tensor,
    key: Tensor,
    queries: Tensor,
    *,
    bias: Tensor | None = None,
    rows: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Compute the whole softmax of a few queries.

    Args:
        query: (batch, heads, queries, dim).
        key: (batch, heads, keys, dim).
        queries: int64 query positions, (n,).
        bias: as in `attend`.
        rows: int64 batch indices; all when None.
        scale: factor of the logits, 1/√dim when None.

    Returns:
        Probabilities (rows, heads, n, keys) in float32.
    """
    if bias is not None:
        bias = cast_bias(bias, query)
        bias = bias if bias.shape[2] == 1 else bias.index_select(2, queries)
        bias = bias.expand(query.shape[0], *bias.shape[1:])
    query = query.index_select(2, queries)
    if rows is not None:
        query, key = query.index_select(0, rows), key.index_select(0, rows)
        bias = None if bias is None else bias.index_select(0, rows)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    key = repeat_heads(query, key)
    logits = torch.matmul(query.float(), key.float().transpose(-1, -2)).mul_(scale)
    return (logits if bias is None else logits + bias.float()).softmax(-1).nan_to_num_()


def propagate(query: Tensor, key: Tensor, maps: Tensor, *, bias: Tensor | None = None) -> Tensor:
    """Average maps by attention: A·M for the softmax A, as fused attention whose values are the maps.

    No matrix of the size of A is written. The maps are padded to the width of a head, because the fused
    kernels require values as wide as keys, and scaled to 0..1, which keeps small probabilities in half
    precision.

    Args:
        query: (batch, heads, queries, dim).
        key: (batch, heads, keys, dim).
        maps: (batch, keys, n), 0 or more.
        bias: as in `attend`.

    Returns:
        The mean over the heads, (batch, queries, n) in float32.
    """
    bias = cast_bias(bias, query)
    heads, dim = query.shape[1], query.shape[3]
    peaks = maps.amax(1, keepdim=True).clamp_min(1e-30)
    averaged = []
    for part in (maps / peaks).split(dim, dim=-1):
        value = F.pad(part, (0, dim - part.shape[-1])).to(query.dtype)
        value = value.unsqueeze(1).expand(-1, heads, -1, -1)
        output = F.scaled_dot_product_attention(query, repeat_heads(query, key), value, attn_mask=bias)
        averaged.append(output[..., : part.shape[-1]].float().mean(1))
    return torch.cat(averaged, -1) * peaks


@overload
def cast_bias(bias: Tensor, query: Tensor) -> Tensor: ...
@overload
def cast_bias(bias: None, query: Tensor) -> None: ...
@overload
def cast_bias(bias: Tensor | None, query: Tensor) -> Tensor | None: ...
def cast_bias(bias: Tensor | None, query: Tensor) -> Tensor | None:
    """Cast a bias to four dimensions and a type that the kernels accept.

    Only the CPU's kernel adds float32 to half-precision logits. A mask of booleans becomes 0 and -inf.
    """
    if bias is None:
        return None
    if bias.ndim < 4:
        bias = bias[(None,) * (4 - bias.ndim)]
    if bias.dtype is torch.bool:
        return torch.zeros_like(bias, dtype=query.dtype).masked_fill_(~bias, -torch.inf)
    return bias if query.device.type == "cpu" else bias.to(query.dtype)


def has_grouped_heads(query: Tensor, key: Tensor) -> bool:
    """Return True if several heads of the queries share one of the keys."""
    return query.shape[1] != key.shape[1]


def repeat_heads(query: Tensor, tensor: Tensor) -> Tensor:
    """Return keys or values with as many heads as the queries."""
    if not has_grouped_heads(query, tensor):
        return tensor
    return tensor.repeat_interleave(query.shape[1] // tensor.shape[1], dim=1)


def gather_columns(tensor: Tensor, columns: Tensor, *, dim: int) -> Tensor:
    """Return the entries `columns` of dimension `dim`: (n,) for all rows, or (rows, n) for each row."""
    if columns.ndim == 1:
        return tensor.index_select(dim, columns)
    shape = [tensor.shape[0], 1, 1, 1]
    shape[dim] = columns.shape[1]
    size = list(tensor.shape)
    size[dim] = columns.shape[1]
    return tensor.gather(dim, columns.view(shape).expand(size))


def compute_lse(
    query: Tensor, key: Tensor, *, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Compute the log-sum-exp of the logits in float32, (batch, heads, queries), in blocks of queries."""
    batch, heads, queries, dim = query.shape
    scale = dim**-0.5 if scale is None else scale
    step = max(1, MAX_LSE_ELEMENTS // (batch * heads * key.shape[2]))
    transposed = repeat_heads(query, key).float().transpose(-1, -2)
    bias = cast_bias(bias, query)
    lse = torch.empty(batch, heads, queries, dtype=torch.float32, device=query.device)
    for start in range(0, queries, step):
        logits = torch.matmul(query[:, :, start : start + step].float(), transposed).mul_(scale)
        if bias is not None:
            logits += bias if bias.shape[2] == 1 else bias[:, :, start : start + step]
        torch.logsumexp(logits, -1, out=lse[:, :, start : start + step])
    return lse


Operator = Callable[[Tensor, Tensor, Tensor, Any, float | None], tuple[Tensor, Tensor]]


def cpu_flash(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor]:
    """Run the CPU's fused kernel; its log-sum-exp is float32 for half types and includes the bias."""
    output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, False, attn_mask=bias, scale=scale
    )
    return output, lse.float()


def cuda_flash(
    query: Tensor, key: Tensor, value: Tensor, _bias: None, scale: float | None
) -> tuple[Tensor, Tensor]:
    """Run flash attention, never chosen with a bias; `dim` is padded to a multiple of 8, as torch does."""
    dim = query.shape[-1]
    scale = dim**-0.5 if scale is None else scale
    if dim % 8:
        query, key, value = (F.pad(tensor, (0, 8 - dim % 8)) for tensor in (query, key, value))
    output, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
        query, key, value, 0.0, False, False, scale=scale
    )
    return output[..., :dim], lse


def cuda_efficient(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor]:
    """Run the memory-efficient kernel; its log-sum-exp is padded to a multiple of 32 queries."""
    if bias is not None:
        keys = key.shape[2]
        if keys % 16:  # the kernel reads the bias in aligned blocks
            bias = F.pad(bias, (0, 16 - keys % 16))[..., :keys]
        bias = bias.expand(*query.shape[:3], keys)
    output, lse, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, True, 0.0, False, scale=scale
    )
    return output, lse[..., : query.shape[2]]


def cuda_cudnn(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor]:
    """Run cuDNN's attention; its log-sum-exp has a last dimension of one."""
    output, lse, *_ = torch.ops.aten._scaled_dot_product_cudnn_attention(
        query, key, value, bias, True, 0.0, False, False, scale=scale
    )
    return output, lse.reshape(query.shape[:3])


OPERATORS: dict[tuple[str, SDPBackend], Operator] = {
    ("cpu", SDPBackend.FLASH_ATTENTION): cpu_flash,
    ("cuda", SDPBackend.FLASH_ATTENTION): cuda_flash,
    ("cuda", SDPBackend.EFFICIENT_ATTENTION): cuda_efficient,
    ("cuda", SDPBackend.CUDNN_ATTENTION): cuda_cudnn,
}
"""Kernels that return the log-sum-exp, by device type and the choice of the public function."""


@cache
def has_operator(operator: Operator, device: torch.device, dtype: torch.dtype) -> bool:
    """Return True if a private operator exists on this device and gives the correct log-sum-exp."""
    ramp = torch.linspace(-2.0, 2.0, 2 * 3 * 40 * 16, device=device).reshape(2, 3, 40, 16)
    query, key, value = (torch.sin(ramp * rate).to(dtype) for rate in (7.0, 11.0, 13.0))
    try:
        output, lse = operator(query, key, value, None, None)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False
    expected = compute_lse(query, key)
    if output.shape != query.shape or lse.shape != expected.shape or lse.dtype != torch.float32:
        return False
    return bool(torch.allclose(lse, expected, rtol=1e-3, atol=1e-3))
