"""Columns of attention against a float64 softmax, and the output against torch's own, bit for bit."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from promptweight.attention.kernels import sdpa
from promptweight.attention.kernels.sdpa import attend

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
OPERATOR_CASES = [
    pytest.param(device, backend, dtype, marks=pytest.mark.gpu if device == "cuda" else ())
    for device, backend in sorted(sdpa.OPERATORS, key=str)
    for dtype in (torch.float32, torch.bfloat16, torch.float16)
    # on CUDA only the memory-efficient kernel accepts float32
    if device == "cpu" or dtype != torch.float32 or backend == sdpa.SDPBackend.EFFICIENT_ATTENTION
]


def inputs(batch=2, heads=3, queries=50, keys=77, dim=40, dtype=torch.float32, device="cpu", seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(length):
        # the layout of diffusers: heads are split off the last dimension, then moved forward
        flat = torch.randn(batch, length, heads * dim, generator=generator) * 1.5
        return flat.to(device, dtype).view(batch, length, heads, dim).transpose(1, 2)

    return draw(queries), draw(keys), draw(keys)


def eager(query, key, value, bias=None, scale=None):
    """Compute output and probabilities of softmax attention in float64."""
    query, key, value = (tensor.double().cpu() for tensor in (query, key, value))
    logits = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        logits = logits + bias.double().cpu()
    weights = logits.softmax(-1)
    return weights @ value, weights


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dim", [8, 20, 40, 64])
@pytest.mark.parametrize("biased", [False, True])
def test_attend_columns_match_float64_and_output_is_torchs_own(device, dtype, dim, biased):
    query, key, value = inputs(dim=dim, dtype=dtype, device=device)
    bias = None
    if biased:
        bias = torch.zeros(2, 1, 1, 77, device=device)
        bias[0, ..., 3], bias[1, ..., 5:8] = 0.5, -2.0
        bias = bias if device == "cpu" else bias.to(dtype)
    columns = torch.tensor([0, 3, 5, 76], device=device)
    output, actual = attend(query, key, value, bias=bias, columns=columns)
    assert torch.equal(output, F.scaled_dot_product_attention(query, key, value, attn_mask=bias))
    assert actual.dtype == torch.float32
    expected = eager(query, key, value, bias)[1][..., columns.cpu()]
    assert (actual.cpu() - expected).abs().max() < (1e-5 if dtype == torch.float32 else 1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_attend_without_columns_equals_torchs_function(device):
    query, key, value = inputs(device=device)
    output, actual = attend(query, key, value)
    assert actual is None
    assert torch.equal(output, F.scaled_dot_product_attention(query, key, value))


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    queries=st.integers(1, 70),
    keys=st.integers(1, 90),
    dim=st.integers(1, 24),
    scale=st.one_of(st.none(), st.floats(0.05, 2.0)),
    seed=st.integers(0, 1000),
)
def test_attend_matches_float64_for_any_shape(batch, heads, queries, keys, dim, scale, seed):
    query, key, value = inputs(batch, heads, queries, keys, dim, seed=seed)
    columns = torch.arange(keys)
    output, actual = attend(query, key, value, columns=columns, scale=scale)
    expected, weights = eager(query, key, value, scale=scale)
    assert torch.allclose(actual.double(), weights, atol=1e-5)
    assert torch.allclose(output.double(), expected, atol=1e-4)


def test_attend_columns_may_differ_by_row():
    query, key, value = inputs(batch=4)
    bias = torch.randn(4, 1, 1, 77, generator=torch.Generator().manual_seed(1))
    rows, columns = torch.tensor([3, 1]), torch.tensor([[2, 9, 9], [70, 0, 1]])
    _, actual = attend(query, key, value, bias=bias, columns=columns, rows=rows)
    weights = eager(query, key, value, bias)[1]
    for index, (row, expected) in enumerate(zip(rows, columns, strict=True)):
        assert torch.allclose(actual[index].double(), weights[row][..., expected], atol=1e-5)


def test_attend_bias_may_differ_by_query_and_head():
    query, key, value = inputs()
    bias = torch.randn(2, 3, 50, 77, generator=torch.Generator().manual_seed(2))
    columns = torch.tensor([[1, 2], [3, 4]])
    _, actual = attend(query, key, value, bias=bias, columns=columns)
    weights = eager(query, key, value, bias)[1]
    assert torch.allclose(actual[1].double(), weights[1][..., [3, 4]], atol=1e-5)


@pytest.mark.parametrize(("device", "backend", "dtype"), OPERATOR_CASES, ids=str)
def test_private_operator_matches_float64(device, backend, dtype):
    """Output and log-sum-exp of every private operator, called directly."""
    operator = sdpa.OPERATORS[device, backend]
    query, key, value = inputs(dim=64, dtype=dtype, device=device)
    assert sdpa.has_operator(operator, query.device, dtype)
    output, lse = operator(query, key, value, None, None)
    logits = query.double() @ key.double().transpose(-1, -2) / 8
    assert torch.allclose(lse.double(), logits.logsumexp(-1), atol=1e-4 if dtype == torch.float32 else 2e-3)
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    assert torch.allclose(output.double().cpu(), eager(query, key, value)[0], atol=tolerance)


def not_in_torch(query, key, value, bias, scale):
    """Raise as after an update of torch that removes a private operator."""
    return torch.ops.aten._scaled_dot_product_of_no_release(query, key, value, bias, scale=scale)


@pytest.mark.parametrize("absent", [sdpa.cuda_flash, not_in_torch], ids=["other device", "no operator"])
def test_missing_operator_falls_back_to_the_explicit_sum(monkeypatch, absent):
    query, key, value = inputs()
    with pytest.raises((NotImplementedError, AttributeError)):  # torch's own
        absent(query, key, value, None, None)
    monkeypatch.setitem(sdpa.OPERATORS, ("cpu", sdpa.SDPBackend.FLASH_ATTENTION), absent)
    monkeypatch.setattr(sdpa, "MAX_LSE_ELEMENTS", 2 * 3 * 77 * 7)  # seven queries at a time
    bias = torch.randn(2, 1, 50, 77, generator=torch.Generator().manual_seed(3))
    columns = torch.tensor([0, 40])
    output, actual = attend(query, key, value, bias=bias, columns=columns)
    assert torch.equal(output, F.scaled_dot_product_attention(query, key, value, attn_mask=bias))
    assert torch.allclose(actual.double(), eager(query, key, value, bias)[1][..., columns], atol=1e-5)


def test_has_operator_refuses_another_log_sum_exp():
    def base_two(query, key, value, bias, scale):
        output, lse = sdpa.cpu_flash(query, key, value, bias, scale)
        return output, lse / 0.6931

    assert not sdpa.has_operator(base_two, torch.device("cpu"), torch.float32)


def test_attend_accepts_values_of_another_width():
    query, key, _ = inputs()
    value = torch.randn(2, 3, 77, 12, generator=torch.Generator().manual_seed(4))
    columns = torch.tensor([4])
    output, actual = attend(query, key, value, columns=columns)
    expected, weights = eager(query, key, value)
    assert torch.allclose(output.double(), expected, atol=1e-5)
    assert torch.allclose(actual.double(), weights[..., columns], atol=1e-5)


def test_compiled_attend_gives_the_same_output():
    query, key, value = inputs(queries=16, keys=10, dim=8)
    bias = torch.randn(2, 1, 1, 10, generator=torch.Generator().manual_seed(5))
    columns = torch.tensor([1, 2])
    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    output, actual = compiled(query, key, value, bias=bias, columns=columns)
    expected_output, expected = attend(query, key, value, bias=bias, columns=columns)
    assert torch.equal(output, expected_output)
    assert torch.allclose(actual, expected, atol=1e-7)


def as_logits(mask):
    """Return what a mask of booleans adds to float64 logits."""
    return torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, -torch.inf)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 1, 1, 77), (1, 1, 50, 77), (2, 3, 50, 77), (50, 77)])
def test_boolean_masks_select_keys(device, dtype, shape):
    query, key, value = inputs(dtype=dtype, device=device)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.6
    output, actual = attend(query, key, value, bias=mask.to(device), columns=torch.arange(77, device=device))
    expected, weights = eager(query, key, value, as_logits(mask))
    exact = dtype == torch.float32
    assert (output.double().cpu() - expected).abs().max() < (1e-5 if exact else 3e-2)
    assert (actual.cpu() - weights).abs().max() < (1e-5 if exact else 1e-4)
    if device == "cpu":
        assert torch.equal(output, F.scaled_dot_product_attention(query, key, value, attn_mask=mask))


def test_boolean_mask_acts_in_every_kernel():
    """Also in rows of the softmax, and in averages over it."""
    query, key, value = inputs(queries=77)
    mask = torch.rand(2, 1, 77, 77, generator=torch.Generator().manual_seed(2)) < 0.5
    weights = eager(query, key, value, as_logits(mask))[1]
    queries, rows = torch.tensor([0, 9, 76]), torch.tensor([1])
    actual = sdpa.compute_rows(query, key, queries, bias=mask, rows=rows)
    assert (actual - weights[1:][:, :, queries]).abs().max() < 1e-5
    maps = torch.rand(2, 77, 3, generator=torch.Generator().manual_seed(3))
    averaged = sdpa.propagate(query, key, maps, bias=mask)
    assert (averaged - (weights.mean(1) @ maps.double())).abs().max() < 1e-5
    lse = sdpa.compute_lse(query, key, bias=mask)
    assert (
        sdpa.compute_columns(query, key, lse, queries, bias=mask) - weights[..., queries]
    ).abs().max() < 1e-5


def test_query_that_attends_to_no_key_has_no_probabilities():
    query, key, value = inputs()
    mask = torch.ones(1, 1, 50, 77, dtype=torch.bool)
    mask[:, :, 7] = False
    output, actual = attend(query, key, value, bias=mask, columns=torch.arange(77))
    assert torch.equal(output, F.scaled_dot_product_attention(query, key, value, attn_mask=mask))
    assert (actual[:, :, 7] == 0).all()
    assert (sdpa.compute_rows(query, key, torch.tensor([7]), bias=mask) == 0).all()
    others = [row for row in range(50) if row != 7]
    assert (actual[:, :, others] - eager(query, key, value)[1][:, :, others]).abs().max() < 1e-5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("mask", [None, "boolean", "bias"])
def test_grouped_heads_share_keys(device, dtype, key_heads, mask):
    query, key, value = inputs(heads=8, dtype=dtype, device=device)
    key, value = key[:, :key_heads], value[:, :key_heads]
    bias = {
        None: None,
        "boolean": torch.rand(2, 1, 1, 77, generator=torch.Generator().manual_seed(4)) < 0.6,
        "bias": torch.randn(2, 1, 1, 77, generator=torch.Generator().manual_seed(4)).to(dtype),
    }[mask]
    on_device = None if bias is None else bias.to(device)
    columns = torch.tensor([0, 5, 76], device=device)
    output, actual = attend(query, key, value, bias=on_device, columns=columns)
    plain = F.scaled_dot_product_attention(query, key, value, attn_mask=on_device, enable_gqa=True)
    assert torch.equal(output, plain)
    logits = as_logits(bias) if mask == "boolean" else bias
    repeated = (each.repeat_interleave(8 // key_heads, 1) for each in (key, value))
    weights = eager(query, *repeated, logits)[1]
    assert (actual.cpu() - weights[..., columns.cpu()]).abs().max() < (
        1e-5 if dtype == torch.float32 else 1e-4
    )
    queries = torch.tensor([3, 8], device=device)
    by_row = sdpa.compute_rows(query, key, queries, bias=on_device)
    assert (by_row.cpu() - weights[:, :, queries.cpu()]).abs().max() < 1e-4
