"""The kernel against an eager softmax in float64, and its output against torch's own, bit for bit."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from promptweight.attention.kernels import sdpa
from promptweight.attention.kernels.sdpa import attend

CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
)
DEVICES = ["cpu", CUDA]


def inputs(batch=2, heads=3, queries=50, keys=77, dim=40, dtype=torch.float32, device="cpu", seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(length):
        # the layout of diffusers: heads are split off the last dimension, then moved forward
        flat = torch.randn(batch, length, heads * dim, generator=generator) * 1.5
        return flat.to(device, dtype).view(batch, length, heads, dim).transpose(1, 2)

    return draw(queries), draw(keys), draw(keys)


def eager(query, key, value, bias=None, scale=None):
    """Softmax attention written out in float64: output and probabilities."""
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
def test_columns_match_float64_and_output_is_torchs_own(device, dtype, dim, biased):
    query, key, value = inputs(dim=dim, dtype=dtype, device=device)
    bias = None
    if biased:
        bias = torch.zeros(2, 1, 1, 77, device=device)
        bias[0, ..., 3], bias[1, ..., 5:8] = 0.5, -2.0
        bias = bias if device == "cpu" else bias.to(dtype)
    columns = torch.tensor([0, 3, 5, 76], device=device)
    output, found = attend(query, key, value, bias=bias, columns=columns)
    assert torch.equal(output, F.scaled_dot_product_attention(query, key, value, attn_mask=bias))
    assert found.dtype == torch.float32
    expected = eager(query, key, value, bias)[1][..., columns.cpu()]
    assert (found.cpu() - expected).abs().max() < (1e-5 if dtype == torch.float32 else 1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_without_columns_it_is_torchs_function(device):
    query, key, value = inputs(device=device)
    output, found = attend(query, key, value)
    assert found is None
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
def test_any_shape(batch, heads, queries, keys, dim, scale, seed):
    query, key, value = inputs(batch, heads, queries, keys, dim, seed=seed)
    columns = torch.arange(keys)
    output, found = attend(query, key, value, columns=columns, scale=scale)
    wanted, weights = eager(query, key, value, scale=scale)
    assert torch.allclose(found.double(), weights, atol=1e-5)
    assert torch.allclose(output.double(), wanted, atol=1e-4)


def test_rows_with_columns_of_their_own():
    query, key, value = inputs(batch=4)
    bias = torch.randn(4, 1, 1, 77, generator=torch.Generator().manual_seed(1))
    rows, columns = torch.tensor([3, 1]), torch.tensor([[2, 9, 9], [70, 0, 1]])
    _, found = attend(query, key, value, bias=bias, columns=columns, rows=rows)
    weights = eager(query, key, value, bias)[1]
    for place, (row, wanted) in enumerate(zip(rows, columns, strict=True)):
        assert torch.allclose(found[place].double(), weights[row][..., wanted], atol=1e-5)


def test_bias_may_differ_by_query_and_head():
    query, key, value = inputs()
    bias = torch.randn(2, 3, 50, 77, generator=torch.Generator().manual_seed(2))
    columns = torch.tensor([[1, 2], [3, 4]])
    _, found = attend(query, key, value, bias=bias, columns=columns)
    weights = eager(query, key, value, bias)[1]
    assert torch.allclose(found[1].double(), weights[1][..., [3, 4]], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("place", sorted(sdpa.OPERATORS, key=str), ids=str)
def test_each_private_operator(place, dtype):
    """Every operator of this machine's devices, called by itself: output and log-sum-exp against float64."""
    device, backend = place
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if device == "cuda" and dtype == torch.float32 and backend.name != "EFFICIENT_ATTENTION":
        pytest.skip("this kernel takes half-precision types only")
    query, key, value = inputs(dim=64, dtype=dtype, device=device)
    assert sdpa.has_operator(sdpa.OPERATORS[place], query.device, dtype)
    output, lse = sdpa.OPERATORS[place](query, key, value, None, None)
    logits = query.double() @ key.double().transpose(-1, -2) / 8
    assert torch.allclose(lse.double(), logits.logsumexp(-1), atol=1e-4 if dtype == torch.float32 else 2e-3)
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    assert torch.allclose(output.double().cpu(), eager(query, key, value)[0], atol=tolerance)


def not_in_torch(query, key, value, bias, scale):
    """As after an update of torch that takes a private operator away."""
    return torch.ops.aten._scaled_dot_product_of_no_release(query, key, value, bias, scale=scale)


@pytest.mark.parametrize("absent", [sdpa.cuda_flash, not_in_torch], ids=["other device", "no operator"])
def test_a_missing_operator_is_replaced_by_the_explicit_sum(monkeypatch, absent):
    query, key, value = inputs()
    with pytest.raises((NotImplementedError, AttributeError)):  # torch's own
        absent(query, key, value, None, None)
    monkeypatch.setitem(sdpa.OPERATORS, ("cpu", sdpa.SDPBackend.FLASH_ATTENTION), absent)
    monkeypatch.setattr(sdpa, "EXPLICIT_ELEMENTS", 2 * 3 * 77 * 7)  # seven queries at a time
    bias = torch.randn(2, 1, 50, 77, generator=torch.Generator().manual_seed(3))
    columns = torch.tensor([0, 40])
    output, found = attend(query, key, value, bias=bias, columns=columns)
    assert torch.equal(output, F.scaled_dot_product_attention(query, key, value, attn_mask=bias))
    assert torch.allclose(found.double(), eager(query, key, value, bias)[1][..., columns], atol=1e-5)


def test_an_operator_with_another_log_sum_exp_is_not_trusted():
    def base_two(query, key, value, bias, scale):
        output, lse = sdpa.cpu_flash(query, key, value, bias, scale)
        return output, lse / 0.6931

    assert not sdpa.has_operator(base_two, torch.device("cpu"), torch.float32)


def test_an_unequal_value_width_takes_the_plain_path():
    query, key, _ = inputs()
    value = torch.randn(2, 3, 77, 12, generator=torch.Generator().manual_seed(4))
    columns = torch.tensor([4])
    output, found = attend(query, key, value, columns=columns)
    wanted, weights = eager(query, key, value)
    assert torch.allclose(output.double(), wanted, atol=1e-5)
    assert torch.allclose(found.double(), weights[..., columns], atol=1e-5)


def test_in_a_compiled_graph_it_is_one_step_with_the_same_numbers():
    query, key, value = inputs(queries=16, keys=10, dim=8)
    bias = torch.randn(2, 1, 1, 10, generator=torch.Generator().manual_seed(5))
    columns = torch.tensor([1, 2])
    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    output, found = compiled(query, key, value, bias=bias, columns=columns)
    wanted_output, wanted = attend(query, key, value, bias=bias, columns=columns)
    assert torch.equal(output, wanted_output)
    assert torch.allclose(found, wanted, atol=1e-7)
