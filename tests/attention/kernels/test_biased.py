"""Weights that act round a kernel without a bias, against an eager softmax in float64.

On CUDA that kernel is flash attention. Elsewhere the CPU's own, called without a bias, stands in its place.
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

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    ),
]
TEXT, IMAGE = 20, (8, 6)
STRETCHES = {"cross": slice(0, TEXT), "image first": slice(48, 48 + TEXT), "text first": slice(0, TEXT)}
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}

GENTLE = [{3: 1.4}, {3: 1.4, 7: 0.5}, {0: 100.0, 4: 0.9}, {5: -1.2}, {2: 1.001, 3: 999.0}]
NO_WORD = dict.fromkeys(range(1, TEXT), 0.0)
EXTREME = [{3: 0.0}, {3: -0.0, 5: -0.2}, {3: 1e-3, 4: 100.0}, {1: 1e8}, NO_WORD, {0: 0.3}]


@pytest.fixture
def apart(monkeypatch):
    """What is called where the kernel takes no bias; on CUDA without cuDNN, which does and may come first."""
    kernels = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(kernels):
        yield take_bias_away(monkeypatch)


def take_bias_away(monkeypatch):
    """Has the CPU's kernel be one that takes no bias; returns what is called from then on, by name."""
    kernels = {(device, SDPBackend.FLASH_ATTENTION): 0 for device in ("cpu", "cuda")}
    monkeypatch.setattr(biased, "WITHOUT_BIAS", kernels)
    calls = []

    def told(name):
        function = getattr(biased, name)

        def call(*arguments):
            calls.append(name)
            return function(*arguments)

        return call

    for name in ("corrected", "merged"):
        monkeypatch.setattr(biased, name, told(name))
    return calls


def inputs(order, dtype, device="cpu", *, batch=2, heads=3, dim=16, seed=0):
    """Queries, keys and values in the layout of diffusers."""
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


def terms_of(rules, device="cpu", region=None):
    """The terms of one prompt whose keys have these weights; another row of the batch has none."""
    keys = {place: KeyRule(weight, region=region) for place, weight in rules.items()}
    return KeyRules([keys, {}], TEXT).terms([0, 1], 0, 1, IMAGE, torch.device(device))


def eager(query, key, value, order, rules, covered=None):
    """Output and probabilities in float64: exp(logits)·|w|, renormalized, the sign on the values."""
    query, key, value = (tensor.double().cpu() for tensor in (query, key, value))
    logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    start, pixels = STRETCHES[order].start, math.prod(IMAGE)
    image = slice(TEXT, None) if order == "text first" else slice(0, pixels)
    inside = torch.ones(pixels) if covered is None else covered.flatten()
    for place, weight in rules.items():
        factor = abs(weight) ** inside.double() if weight else (inside == 0).double()
        rows = torch.ones(query.shape[2], dtype=torch.float64).fill_(abs(weight) if covered is None else 1.0)
        rows[image] = factor
        logits[0, :, :, start + place] += rows.log()
        if weight < 0 and covered is None:
            value[0, :, start + place] *= -1
    found = logits.softmax(-1)
    return found @ value, found


def rounded(rules, dtype):
    """Weights as kernels see them that take their logarithms in the model's type, all but the CPU's."""
    logs = {place: torch.tensor(abs(weight)).log().to(dtype).item() for place, weight in rules.items()}
    return {place: math.copysign(math.exp(logs[place]), weight) for place, weight in rules.items()}


def recorder_of(order, terms):
    recorder = LayerHook(order=order)
    recorder.call.terms, recorder.call.text_length = terms, TEXT
    return recorder


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("order", STRETCHES)
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    "rules", [*GENTLE, *EXTREME], ids=lambda rules: "no word" if rules is NO_WORD else str(rules)
)
def test_output_is_that_of_the_weighted_softmax(apart, device, order, dtype, rules):
    query, key, value = inputs(order, dtype, device)
    output = recorder_of(order, terms_of(rules, device)).attend(query, key, value)
    as_acting = rules if device == "cpu" or rules in GENTLE else rounded(rules, dtype)
    wanted, _ = eager(query, key, value, order, as_acting)
    assert output.dtype == dtype
    assert (output.double().cpu() - wanted).abs().max() < TOLERANCES[dtype]
    if device == "cpu" or dtype != torch.float32:  # flash attention takes half-precision types alone
        way = ["corrected"] if rules in GENTLE else [] if order == "cross" else ["merged"]
        assert apart == way


@pytest.mark.parametrize("order", STRETCHES)
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.7, 2.5, -3.0])
def test_a_region_by_the_row_of_the_query(apart, order, weight):
    query, key, value = inputs(order, torch.float32)
    covered = torch.zeros(IMAGE)
    covered[:, :2], covered[:, 2] = 1, 0.5
    region = type("Half", (), {"on": lambda self, height, width: covered})()
    terms = terms_of({4: weight, 9: 1.3}, region=region)
    assert terms.bias.shape[2] == math.prod(IMAGE)
    bias = recorder_bias(terms, order, query, key)
    acted = split_bias_attention(
        query, key, value, bias=bias, biased=STRETCHES[order], columns=shifted(terms, order)
    )
    if acted is None:
        assert order == "cross"
        assert abs(weight) < 0.5
        return
    positive = {4: abs(weight), 9: 1.3}
    wanted, found = eager(query, key, value, order, positive, covered)
    assert (acted[0].double() - wanted).abs().max() < 1e-5
    columns = torch.arange(key.shape[2])
    assert (compute_columns(query, key, acted[1], columns, bias=acted[2]).double() - found).abs().max() < 1e-5


def recorder_bias(terms, order, query, key):
    """The bias over all queries and keys, built by hand."""
    bias = torch.zeros(2, 1, query.shape[2], key.shape[2])
    image = slice(TEXT, None) if order == "text first" else slice(0, math.prod(IMAGE))
    bias[:, :, image, STRETCHES[order]] = terms.bias
    return bias


def shifted(terms, order):
    return None if terms.columns is None else terms.columns + STRETCHES[order].start


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("rules", [{3: 1.4, 7: 0.5}, {0: 0.0, 4: 40.0}], ids=str)
def test_probabilities_from_the_log_sum_exp_that_comes_back(apart, dtype, rules):
    query, key, value = inputs("image first", dtype)
    bias = torch.zeros(2, 1, 1, key.shape[2])
    bias[0, ..., 48 : 48 + TEXT] = terms_of(rules).bias[0]
    columns = shifted(terms_of(rules), "image first")
    acted = split_bias_attention(
        query, key, value, bias=bias, biased=STRETCHES["image first"], columns=columns
    )
    found = compute_columns(query, key, acted[1], torch.arange(key.shape[2]), bias=acted[2])
    _, wanted = eager(query, key, value, "image first", rules)
    assert (found.double() - wanted).abs().max() < (1e-5 if dtype == torch.float32 else 1e-4)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_row_without_weights_keeps_its_picture_to_the_last_bit(apart, dtype):
    query, key, value = inputs("image first", dtype)
    output = recorder_of("image first", terms_of({3: 1.4, 4: 0.6})).attend(query, key, value)
    plain = F.scaled_dot_product_attention(query, key, value)
    assert torch.equal(output[1], plain[1])
    assert not torch.equal(output[0], plain[0])


def dominated(dtype):
    """Attention of which nearly all goes to key 2, as to the beginning of a text."""
    query, key, value = inputs("image first", dtype)
    query[..., 0], key[..., 0] = 6.0, 0.0
    key[:, :, 50, 0] = 16.0
    return query, key, value


@pytest.mark.parametrize("weight", [0.0, 0.05, 0.5, 3.0])
def test_a_dominant_word_made_light(apart, weight):
    """What the closed form cannot bear is what it is not used for."""
    query, key, value = dominated(torch.bfloat16)
    terms = terms_of({2: weight})
    wanted, _ = eager(query, key, value, "image first", {2: weight})
    _, found = eager(query, key, value, "image first", {})
    assert found[0, ..., 50].mean() > 0.99
    output = recorder_of("image first", terms).attend(query, key, value)
    assert (output.double() - wanted).abs().max() < 3e-2
    assert apart == (["corrected"] if weight in (0.5, 3.0) else ["merged"])
    if weight == 0:
        rounded, lse = attend_with_lse(query, key, value)
        columns = torch.full((2, 1), 50)
        closed, _ = correct_output(
            rounded, lse, compute_columns(query, key, lse, columns), torch.full((2, 1, 1, 1), -1.0),
            value[:, :, 50:51],
        )  # fmt: skip
        assert not (closed[0].double() - wanted[0]).abs().max() < 0.3


@given(
    weights=st.dictionaries(st.integers(0, TEXT - 1), st.floats(*biased.CLOSED_FORM_RANGE), min_size=1),
    seed=st.integers(0, 1000),
    loudness=st.floats(0.1, 6.0),
)
def test_the_closed_form_for_any_gentle_weights(weights, seed, loudness):
    query, key, value = inputs("cross", torch.float32, batch=1, seed=seed)
    query = query * loudness
    columns = torch.tensor(sorted(weights))
    excess = torch.tensor([weights[place] - 1 for place in sorted(weights)]).float()
    output, lse = attend_with_lse(query, key, value)
    found = compute_columns(query, key, lse, columns)
    output, lse = correct_output(output, lse, found, excess, value[:, :, columns])
    wanted, _ = eager(query, key, value, "cross", weights)
    assert (output.double() - wanted).abs().max() < 5e-5
    logits = query.double() @ key.double().transpose(-1, -2) / 4
    for place, weight in weights.items():
        logits[..., place] += math.log(weight)
    assert torch.allclose(lse.double(), logits.logsumexp(-1), atol=1e-4)


@given(split=st.integers(1, TEXT - 1), seed=st.integers(0, 1000), shift=st.floats(-1e4, 50))
def test_two_calls_merged_are_one(split, seed, shift):
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


@pytest.mark.parametrize(("fewest", "orders"), [(68, {"image first", "text first"}), (69, set())])
def test_few_keys_are_left_to_a_kernel_with_a_bias(apart, monkeypatch, fewest, orders):
    monkeypatch.setattr(biased, "WITHOUT_BIAS", {("cpu", SDPBackend.FLASH_ATTENTION): fewest})
    for order in STRETCHES:
        query, key, value = inputs(order, torch.float32)
        output = recorder_of(order, terms_of({3: 1.4})).attend(query, key, value)
        assert bool(apart) == (order in orders)
        assert (output.double() - eager(query, key, value, order, {3: 1.4})[0]).abs().max() < 1e-5
        apart.clear()


def test_on_the_cpu_nothing_acts_apart():
    query, _, _ = inputs("image first", torch.bfloat16)
    assert not biased.can_split_bias(query)


def test_the_columns_are_filled_up_with_keys_that_have_no_weight():
    rules = KeyRules([{0: KeyRule(2.0), 5: KeyRule(1.5)}, {}, {place: KeyRule(1.1) for place in range(6)}], 6)
    columns = rules.terms([0, 1, 2, None], 0, 1, (2, 2), torch.device("cpu")).columns.tolist()
    assert sorted(columns[2]) == list(range(6))
    assert columns[0][:2] == [0, 5]
    assert not {0, 5} & set(columns[0][2:])
    heavy = KeyRules([{0: KeyRule(2.0)}, {0: KeyRule(0.1)}], 6)
    assert heavy.terms([0, 1], 0, 1, (2, 2), torch.device("cpu")).columns is None
    assert heavy.terms([0, None], 0, 1, (2, 2), torch.device("cpu")).columns is not None
    heavy.set(0, [0], weight=0.0)
    assert heavy.terms([0, None], 0, 1, (2, 2), torch.device("cpu")).columns is None


@pytest.mark.parametrize("family", ["unet", "sd3", "flux"])
@pytest.mark.parametrize(
    ("prompt", "way"),
    [
        ("um gato:1.4 vermelho:0.7", {"corrected"}),
        ("um gato:0.2 vermelho:-1.3", {"merged"}),
        ("um gato:1.6{region=left} vermelho:-2{region=top}", {"corrected"}),
        ("um gato:2{to=0} vermelho", {"corrected", "merged"}),
    ],
)
def test_whole_pictures_and_their_maps_are_those_of_the_biased_kernel(tiny, monkeypatch, family, prompt, way):
    make = {"unet": tiny.pipeline, "sd3": tiny.sd3_pipeline, "flux": tiny.flux_pipeline}[family]
    pipe, encoded = make(), tiny.encode(prompt, negative=None if family == "flux" else "feio:1.2")
    more = {"unet": {}, "sd3": tiny.pooled(1), "flux": {"pooled_prompt_embeds": torch.ones(1, 32)}}[family]

    def made(record):
        with attach(pipe, encoded, space="attention", record=record) as session:
            picture = tiny.run(pipe, session.inputs | more)
        return picture, session.maps.word("gato").tensor if record else None

    expected, expected_map = made(Record(steps="keep"))
    calls = take_bias_away(monkeypatch)
    picture, found = made(Record(steps="keep"))
    unrecorded, _ = made(False)
    assert torch.allclose(picture, expected, atol=5e-5)
    assert torch.allclose(unrecorded, expected, atol=5e-5)
    assert torch.allclose(found, expected_map, atol=1e-5)
    assert set(calls) == (way - {"merged"} if family == "unet" else way)


@pytest.mark.parametrize("family", ["unet", "sd3"])
def test_shares_that_only_the_device_knows_are_never_corrected_for(tiny, monkeypatch, family):
    pipe = tiny.pipeline() if family == "unet" else tiny.sd3_pipeline()
    more = {} if family == "unet" else tiny.pooled(1)
    encoded = tiny.encode("um gato vermelho")

    def made():
        with attach(pipe, encoded, targets={"gato": 0.6}) as session:
            return tiny.run(pipe, session.inputs | more)

    expected = made()
    calls = take_bias_away(monkeypatch)
    assert torch.allclose(made(), expected, atol=5e-5)
    assert set(calls) == (set() if family == "unet" else {"merged"})


@pytest.mark.parametrize("rules", [{3: 1.4}, {3: 0.0}], ids=str)
@pytest.mark.parametrize("order", STRETCHES)
def test_in_a_compiled_graph_it_is_one_step_with_the_same_numbers(apart, order, rules):
    query, key, value = inputs(order, torch.bfloat16)
    recorder = recorder_of(order, terms_of(rules))
    torch.compiler.reset()
    compiled = torch.compile(recorder.attend, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(query, key, value), recorder.attend(query, key, value))
    torch.compiler.reset()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("rules", [{3: 1.4}, {3: 0.0}], ids=str)
def test_nothing_waits_for_the_device_and_flash_attention_runs(apart, rules):
    query, key, value = inputs("image first", torch.bfloat16, "cuda", dim=64)
    recorder = recorder_of("image first", terms_of(rules, "cuda"))
    recorder.attend(query, key, value)  # the operators are tried once
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            recorder.attend(query, key, value)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    names = {event.key for event in profile.key_averages()}
    assert "aten::_scaled_dot_product_flash_attention" in names
