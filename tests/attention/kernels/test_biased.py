"""Biased attention through kernels without a bias, against a softmax in float64.

On CUDA that kernel is flash attention. Elsewhere the CPU's own kernel, called without a bias, replaces it.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import sdpa_kernel

from promptweight.attention import Record, attach
from promptweight.attention.control.rules import KeyRule, KeyRules
from promptweight.attention.hooks.layer_hook import LayerHook
from promptweight.attention.kernels import biased
from promptweight.attention.kernels.biased import correct_output, merge_outputs, split_bias_attention
from promptweight.attention.kernels.sdpa import SDPBackend, attend_with_lse, compute_columns

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
TEXT, IMAGE = 20, (8, 6)
TEXT_RANGES = {"cross": slice(0, TEXT), "image first": slice(48, 48 + TEXT), "text first": slice(0, TEXT)}
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}

IN_RANGE = [{3: 1.4}, {3: 1.4, 7: 0.5}, {0: 100.0, 4: 0.9}, {5: -1.2}, {2: 1.001, 3: 999.0}]
NO_WORD = dict.fromkeys(range(1, TEXT), 0.0)
OUT_OF_RANGE = [{3: 0.0}, {3: -0.0, 5: -0.2}, {3: 1e-3, 4: 100.0}, {1: 1e8}, NO_WORD, {0: 0.3}]


@pytest.fixture
def identity_calls(monkeypatch):
    """Calls of the two identities; on CUDA without cuDNN, which accepts a bias and may be chosen first."""
    kernels = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(kernels):
        yield simulate_kernel_without_bias(monkeypatch)


def simulate_kernel_without_bias(monkeypatch):
    """Treat the CPU's kernel as one without a bias; return the names of the identities called."""
    kernels = {(device, SDPBackend.FLASH_ATTENTION): 0 for device in ("cpu", "cuda")}
    monkeypatch.setattr(biased, "MIN_KEYS_WITHOUT_BIAS", kernels)
    calls = []

    def spy_on(name):
        function = getattr(biased, name)

        def call(*arguments):
            calls.append(name)
            return function(*arguments)

        return call

    for name in ("correct_output", "merge_outputs"):
        monkeypatch.setattr(biased, name, spy_on(name))
    return calls


def inputs(order, dtype, device="cpu", *, batch=2, heads=3, dim=16, seed=0):
    """Make queries, keys and values in the memory layout of diffusers."""
    generator = torch.Generator().manual_seed(seed)
    pixels = math.prod(IMAGE)
    queries = pixels if order == "cross" else pixels + TEXT
    keys = TEXT if order == "cross" else pixels + TEXT
    return [
        (torch.randn(batch, length, heads * dim, generator=generator) * 1.5)
        .to(device, dtype)
        .unflatten(-1, (heads, dim))
        .transpose(1, 2)
        for length in (queries, keys, keys)
    ]


def make_terms(rules, device="cpu", region=None):
    """Make the terms of a prompt whose keys have these weights, and of a second row without any."""
    keys = {position: KeyRule(weight, region=region) for position, weight in rules.items()}
    return KeyRules([keys, {}], TEXT).terms_at([0, 1], 0, 1, IMAGE, torch.device(device))


def eager(query, key, value, order, rules, covered=None):
    """Compute output and probabilities in float64: exp(logits)·|w|, renormalized, the sign on the values."""
    query, key, value = (tensor.double().cpu() for tensor in (query, key, value))
    logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    start, pixels = TEXT_RANGES[order].start, math.prod(IMAGE)
    image = slice(TEXT, None) if order == "text first" else slice(0, pixels)
    inside = torch.ones(pixels) if covered is None else covered.flatten()
    for position, weight in rules.items():
        factor = abs(weight) ** inside.double() if weight else (inside == 0).double()
        rows = torch.ones(query.shape[2], dtype=torch.float64).fill_(abs(weight) if covered is None else 1.0)
        rows[image] = factor
        logits[0, :, :, start + position] += rows.log()
        if weight < 0 and covered is None:
            value[0, :, start + position] *= -1
    actual = logits.softmax(-1)
    return actual @ value, actual


def round_weights(rules, dtype):
    """Round weights as kernels do that take their logarithms in the model's type (all but the CPU's)."""
    logs = {position: torch.tensor(abs(weight)).log().to(dtype).item() for position, weight in rules.items()}
    return {position: math.copysign(math.exp(logs[position]), weight) for position, weight in rules.items()}


def make_hook(order, terms):
    hook = LayerHook(order=order)
    hook.call.terms, hook.call.text_length = terms, TEXT
    return hook


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("order", TEXT_RANGES)
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    "rules", [*IN_RANGE, *OUT_OF_RANGE], ids=lambda rules: "no word" if rules is NO_WORD else str(rules)
)
def test_output_matches_the_weighted_softmax(identity_calls, device, order, dtype, rules):
    query, key, value = inputs(order, dtype, device)
    output = make_hook(order, make_terms(rules, device)).attend(query, key, value)
    rounded_rules = rules if device == "cpu" or rules in IN_RANGE else round_weights(rules, dtype)
    expected, _ = eager(query, key, value, order, rounded_rules)
    assert output.dtype == dtype
    assert (output.double().cpu() - expected).abs().max() < TOLERANCES[dtype]
    if device == "cpu" or dtype != torch.float32:  # flash attention takes half-precision types alone
        identities = (
            ["correct_output"] if rules in IN_RANGE else [] if order == "cross" else ["merge_outputs"]
        )
        assert identity_calls == identities


@pytest.mark.parametrize("order", TEXT_RANGES)
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.7, 2.5, -3.0])
def test_region_acts_by_image_position(identity_calls, order, weight):
    query, key, value = inputs(order, torch.float32)
    covered = torch.zeros(IMAGE)
    covered[:, :2], covered[:, 2] = 1, 0.5
    region = type("Half", (), {"rasterize": lambda self, height, width: covered})()
    terms = make_terms({4: weight, 9: 1.3}, region=region)
    assert terms.bias.shape[2] == math.prod(IMAGE)
    bias = full_bias(terms, order, query, key)
    split = split_bias_attention(
        query, key, value, bias=bias, biased=TEXT_RANGES[order], columns=shift_columns(terms, order)
    )
    if split is None:
        assert order == "cross"
        assert abs(weight) < 0.5
        return
    positive = {4: abs(weight), 9: 1.3}
    expected, actual = eager(query, key, value, order, positive, covered)
    assert (split[0].double() - expected).abs().max() < 1e-5
    columns = torch.arange(key.shape[2])
    assert (
        compute_columns(query, key, split[1], columns, bias=split[2]).double() - actual
    ).abs().max() < 1e-5


def full_bias(terms, order, query, key):
    """Build the bias over all queries and keys."""
    bias = torch.zeros(2, 1, query.shape[2], key.shape[2])
    image = slice(TEXT, None) if order == "text first" else slice(0, math.prod(IMAGE))
    bias[:, :, image, TEXT_RANGES[order]] = terms.bias
    return bias


def shift_columns(terms, order):
    return None if terms.columns is None else terms.columns + TEXT_RANGES[order].start


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("rules", [{3: 1.4, 7: 0.5}, {0: 0.0, 4: 40.0}], ids=str)
def test_returned_log_sum_exp_gives_the_probabilities(identity_calls, dtype, rules):
    query, key, value = inputs("image first", dtype)
    bias = torch.zeros(2, 1, 1, key.shape[2])
    bias[0, ..., 48 : 48 + TEXT] = make_terms(rules).bias[0]
    columns = shift_columns(make_terms(rules), "image first")
    split = split_bias_attention(
        query, key, value, bias=bias, biased=TEXT_RANGES["image first"], columns=columns
    )
    actual = compute_columns(query, key, split[1], torch.arange(key.shape[2]), bias=split[2])
    _, expected = eager(query, key, value, "image first", rules)
    assert (actual.double() - expected).abs().max() < (1e-5 if dtype == torch.float32 else 1e-4)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_row_without_weights_is_unchanged_bit_for_bit(identity_calls, dtype):
    query, key, value = inputs("image first", dtype)
    output = make_hook("image first", make_terms({3: 1.4, 4: 0.6})).attend(query, key, value)
    plain = F.scaled_dot_product_attention(query, key, value)
    assert torch.equal(output[1], plain[1])
    assert not torch.equal(output[0], plain[0])


def make_dominant(dtype):
    """Make inputs with nearly all attention on text key 2, as on the beginning of a text."""
    query, key, value = inputs("image first", dtype)
    query[..., 0], key[..., 0] = 6.0, 0.0
    key[:, :, 50, 0] = 16.0
    return query, key, value


@pytest.mark.parametrize("weight", [0.0, 0.05, 0.5, 3.0])
def test_dominant_word_with_low_weight_avoids_the_closed_form(identity_calls, weight):
    """The closed form is inaccurate for the weights for which it is not used."""
    query, key, value = make_dominant(torch.bfloat16)
    terms = make_terms({2: weight})
    expected, _ = eager(query, key, value, "image first", {2: weight})
    _, actual = eager(query, key, value, "image first", {})
    assert actual[0, ..., 50].mean() > 0.99
    output = make_hook("image first", terms).attend(query, key, value)
    assert (output.double() - expected).abs().max() < 3e-2
    assert identity_calls == (["correct_output"] if weight in (0.5, 3.0) else ["merge_outputs"])
    if weight == 0:
        rounded, lse = attend_with_lse(query, key, value)
        columns = torch.full((2, 1), 50)
        closed, _ = correct_output(
            rounded, lse, compute_columns(query, key, lse, columns), torch.full((2, 1, 1, 1), -1.0),
            value[:, :, 50:51],
        )  # fmt: skip
        assert not (closed[0].double() - expected[0]).abs().max() < 0.3


@given(
    weights=st.dictionaries(st.integers(0, TEXT - 1), st.floats(*biased.CLOSED_FORM_RANGE), min_size=1),
    seed=st.integers(0, 1000),
    scale=st.floats(0.1, 6.0),
)
def test_closed_form_matches_float64_for_any_weights_in_range(weights, seed, scale):
    query, key, value = inputs("cross", torch.float32, batch=1, seed=seed)
    query = query * scale
    columns = torch.tensor(sorted(weights))
    excess = torch.tensor([weights[position] - 1 for position in sorted(weights)]).float()
    output, lse = attend_with_lse(query, key, value)
    actual = compute_columns(query, key, lse, columns)
    output, lse = correct_output(output, lse, actual, excess, value[:, :, columns])
    expected, _ = eager(query, key, value, "cross", weights)
    assert (output.double() - expected).abs().max() < 5e-5
    logits = query.double() @ key.double().transpose(-1, -2) / 4
    for position, weight in weights.items():
        logits[..., position] += math.log(weight)
    assert torch.allclose(lse.double(), logits.logsumexp(-1), atol=1e-4)


@given(split=st.integers(1, TEXT - 1), seed=st.integers(0, 1000), shift=st.floats(-1e4, 50))
def test_merged_outputs_match_one_call(split, seed, shift):
    query, key, value = inputs("cross", torch.float32, batch=1, seed=seed)
    bias = torch.zeros(1, 1, 1, TEXT)
    bias[..., split:] = shift
    output, lse = merge_outputs(
        attend_with_lse(query, key[:, :, :split], value[:, :, :split]),
        attend_with_lse(query, key[:, :, split:], value[:, :, split:], bias=bias[..., split:]),
    )
    logits = query.double() @ key.double().transpose(-1, -2) / 4 + bias.double()
    assert torch.allclose(output.double(), logits.softmax(-1) @ value.double(), atol=1e-5)
    assert torch.allclose(lse.double(), logits.logsumexp(-1), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(("min_keys", "orders"), [(68, {"image first", "text first"}), (69, set())])
def test_few_keys_use_the_kernel_with_a_bias(identity_calls, monkeypatch, min_keys, orders):
    monkeypatch.setattr(biased, "MIN_KEYS_WITHOUT_BIAS", {("cpu", SDPBackend.FLASH_ATTENTION): min_keys})
    for order in TEXT_RANGES:
        query, key, value = inputs(order, torch.float32)
        output = make_hook(order, make_terms({3: 1.4})).attend(query, key, value)
        assert bool(identity_calls) == (order in orders)
        assert (output.double() - eager(query, key, value, order, {3: 1.4})[0]).abs().max() < 1e-5
        identity_calls.clear()


def test_cpu_has_no_kernel_without_bias():
    query, _, _ = inputs("image first", torch.bfloat16)
    assert not biased.can_split_bias(query)


def test_columns_are_padded_with_keys_without_weight():
    rules = KeyRules(
        [{0: KeyRule(2.0), 5: KeyRule(1.5)}, {}, {position: KeyRule(1.1) for position in range(6)}], 6
    )
    columns = rules.terms_at([0, 1, 2, None], 0, 1, (2, 2), torch.device("cpu")).columns.tolist()
    assert sorted(columns[2]) == list(range(6))
    assert columns[0][:2] == [0, 5]
    assert not {0, 5} & set(columns[0][2:])
    heavy = KeyRules([{0: KeyRule(2.0)}, {0: KeyRule(0.1)}], 6)
    assert heavy.terms_at([0, 1], 0, 1, (2, 2), torch.device("cpu")).columns is None
    assert heavy.terms_at([0, None], 0, 1, (2, 2), torch.device("cpu")).columns is not None
    heavy.set(0, [0], weight=0.0)
    assert heavy.terms_at([0, None], 0, 1, (2, 2), torch.device("cpu")).columns is None


@pytest.mark.parametrize("family", ["unet", "sd3", "flux"])
@pytest.mark.parametrize(
    ("prompt", "identities"),
    [
        ("um gato:1.4 vermelho:0.7", {"correct_output"}),
        ("um gato:0.2 vermelho:-1.3", {"merge_outputs"}),
        ("um gato:1.6{region=left} vermelho:-2{region=top}", {"correct_output"}),
        ("um gato:2{steps=0:1 1:0} vermelho", {"correct_output", "merge_outputs"}),
    ],
)
def test_images_and_maps_match_those_of_the_biased_kernel(tiny, monkeypatch, family, prompt, identities):
    make = {"unet": tiny.pipeline, "sd3": tiny.sd3_pipeline, "flux": tiny.flux_pipeline}[family]
    pipe, negative = make(), None if family == "flux" else "feio:1.2"
    encoded = tiny.encode(prompt, negative=negative, weighting="attention")
    more = {"unet": {}, "sd3": tiny.pooled(1), "flux": {"pooled_prompt_embeds": torch.ones(1, 32)}}[family]

    def run(record):
        with attach(pipe, encoded, record=record) as session:
            image = tiny.run(pipe, session.inputs | more)
        return image, session.maps.word("gato").tensor if record else None

    expected, expected_map = run(Record(steps="keep"))
    calls = simulate_kernel_without_bias(monkeypatch)
    image, actual = run(Record(steps="keep"))
    unrecorded, _ = run(False)
    assert torch.allclose(image, expected, atol=5e-5)
    assert torch.allclose(unrecorded, expected, atol=5e-5)
    assert torch.allclose(actual, expected_map, atol=1e-5)
    assert set(calls) == (identities - {"merge_outputs"} if family == "unet" else identities)


@pytest.mark.parametrize("family", ["unet", "sd3"])
def test_share_weights_do_not_use_the_closed_form(tiny, monkeypatch, family):
    pipe = tiny.pipeline() if family == "unet" else tiny.sd3_pipeline()
    more = {} if family == "unet" else tiny.pooled(1)
    encoded = tiny.encode("um gato vermelho")

    def run():
        with attach(pipe, encoded, targets={"gato": 0.6}) as session:
            return tiny.run(pipe, session.inputs | more)

    expected = run()
    calls = simulate_kernel_without_bias(monkeypatch)
    assert torch.allclose(run(), expected, atol=5e-5)
    assert set(calls) == (set() if family == "unet" else {"merge_outputs"})


@pytest.mark.parametrize("rules", [{3: 1.4}, {3: 0.0}], ids=str)
@pytest.mark.parametrize("order", TEXT_RANGES)
def test_compiled_graph_gives_the_same_output(identity_calls, order, rules):
    query, key, value = inputs(order, torch.bfloat16)
    hook = make_hook(order, make_terms(rules))
    torch.compiler.reset()
    compiled = torch.compile(hook.attend, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(query, key, value), hook.attend(query, key, value))
    torch.compiler.reset()


@pytest.mark.gpu
@pytest.mark.parametrize("rules", [{3: 1.4}, {3: 0.0}], ids=str)
def test_flash_attention_runs_without_synchronization(identity_calls, rules):
    query, key, value = inputs("image first", torch.bfloat16, "cuda", dim=64)
    hook = make_hook("image first", make_terms(rules, "cuda"))
    hook.attend(query, key, value)  # the operators are tried once
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            hook.attend(query, key, value)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    names = {event.key for event in profile.key_averages()}
    assert "aten::_scaled_dot_product_flash_attention" in names
