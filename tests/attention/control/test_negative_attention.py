"""Negative prompts in attention, against a model that attends to both prompts in two rows, in float64.

In the reference, one row of the batch has the positive prompt and one the negative, and the attention of the
image is made equal in both after every layer, so that the rows differ in their text alone.
"""

import itertools

import pytest
import torch
import torch.nn.functional as F

from promptweight.attention import NegativeGuidance, Record, attach

CAT, UGLY = 2, 1  # positions of "gato" in "um gato vermelho", and of "feio" in "feio dia"
POSITIVE, NEGATIVE = "um gato vermelho", "feio dia"
WORDS = {"feio dia": (1, 2), "casa": (1,)}  # text positions of the words
GUIDANCES = [
    NegativeGuidance("nag", scale=3, tau=1.2, alpha=0.5),
    NegativeGuidance("nag", scale=9, tau=100, alpha=1),
    NegativeGuidance("vsf", scale=2.5, offset=0.3),
]


class Reference:
    """Attention of two rows in float64, in place of torch's function."""

    def __init__(self, order, rows, guidance, *, weights=({}, {}), words=(1, 2), region=None):
        self.order, self.rows, self.guidance = order, rows, guidance
        self.weights, self.words, self.region = weights, words, region

    def __call__(self, query, key, value, attn_mask=None, **_settings):
        dtype = query.dtype
        query, key, value = query.double(), key.double(), value.double()
        queries, keys = query.shape[2], key.shape[2]
        if keys == queries and (self.order == "cross" or keys == 48):  # the image's attention to itself
            return softmax(query @ key.mT * query.shape[-1] ** -0.5, value).to(dtype)
        pixels = queries if self.order == "cross" else queries - self.rows
        image = slice(self.rows, queries) if self.order == "text first" else slice(0, pixels)
        text = slice(0, self.rows) if self.order != "image first" else slice(pixels, queries)
        logits = query @ key.mT * query.shape[-1] ** -0.5
        for row, weights in enumerate(self.weights):
            for position, weight in weights.items():
                where = image if self.region is not None and row == 1 else slice(None)
                cells = slice(None) if self.region is None or row == 0 else self.region(pixels)
                logits[row, :, where, text.start + position][:, cells] += torch.tensor(weight).double().log()
        output = softmax(logits, value)
        plain, other = output[0, :, image], output[1, :, image]
        is_nag = self.guidance.name == "nag"
        guided = self.nag(plain, other) if is_nag else self.vsf(logits, value, image, text)
        output[:, :, image] = guided
        return output.to(dtype)

    def nag(self, plain, other):
        guidance, guided = self.guidance, torch.empty_like(plain)
        for pixel in range(plain.shape[1]):
            positive, negative = plain[:, pixel].flatten(), other[:, pixel].flatten()
            moved = guidance.scale * positive - (guidance.scale - 1) * negative
            ratio = moved.abs().sum() / positive.abs().sum()
            moved = moved * min(ratio, guidance.tau) / ratio
            mixed = guidance.alpha * moved + (1 - guidance.alpha) * positive
            guided[:, pixel] = mixed.unflatten(0, (len(plain), -1))
        return guided

    def vsf(self, logits, value, image, text):
        words = [text.start + position for position in self.words]
        pushed = logits[1, :, image][..., words] - self.guidance.offset
        both = torch.cat([logits[0, :, image], pushed], -1)
        return softmax(both, torch.cat([value[0], -self.guidance.scale * value[1][:, words]], 1))


def softmax(logits, value):
    weights = (logits - logits.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True) @ value


def spread(tensor, embeds):
    """Return one row as many rows as the embeddings have, in their type."""
    return tensor.expand(len(embeds), *tensor.shape[1:]).to(embeds.dtype)


def model_call(tiny, family):
    """Return a pipeline, its order of keys, and a function that calls its model on embeddings."""
    if family == "unet":
        pipe = tiny.pipeline()
        latents = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(0))
        call = lambda embeds: pipe.unet(spread(latents, embeds), 300, embeds).sample  # noqa: E731
        return pipe, "cross", call
    if family == "sd3":
        pipe = tiny.sd3_pipeline(qk_norm="rms_norm", dual_attention_layers=(0,))
        latents = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(0))

        def call(embeds):
            pooled = spread(torch.ones(1, 32), embeds)
            step = torch.full((len(embeds),), 300.0)
            return pipe.transformer(spread(latents, embeds), embeds, pooled, step).sample

        return pipe, "image first", call
    pipe = tiny.flux_pipeline()
    latents = torch.randn(1, 24, 16, generator=torch.Generator().manual_seed(0))
    grid = torch.tensor([(0, y, x) for y, x in itertools.product(range(4), range(6))]).float()

    def call(embeds):
        pooled, step = spread(torch.ones(1, 32), embeds), torch.full((len(embeds),), 0.3)
        positions = torch.zeros(embeds.shape[1], 3)
        return pipe.transformer(spread(latents, embeds), embeds, pooled, step, grid, positions).sample

    return pipe, "text first", call


def run_reference(monkeypatch, call, inputs, reference):
    embeds = torch.cat([inputs["prompt_embeds"], inputs["negative_prompt_embeds"]])
    with torch.no_grad(), monkeypatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", reference)
        return call(embeds)[:1]


def run_session(pipe, call, encoded, guidance, change=None, **settings):
    with attach(pipe, encoded, negative_guidance=guidance, **settings) as session, torch.no_grad():
        if change is not None:
            change(session)
        return call(encoded.inputs["prompt_embeds"]), session


@pytest.mark.parametrize("family", ["unet", "sd3", "flux"])
@pytest.mark.parametrize("guidance", GUIDANCES, ids=str)
@pytest.mark.parametrize("record", [True, False])
def test_negative_prompt_matches_float64(tiny, monkeypatch, family, guidance, record):
    pipe, order, call = model_call(tiny, family)
    encoded = tiny.encode(POSITIVE, negative=NEGATIVE)
    expected = run_reference(monkeypatch, call, encoded.inputs, Reference(order, tiny.rows, guidance))
    actual, _ = run_session(pipe, call, encoded, guidance, record=record)
    plain, _ = run_session(pipe, call, encoded, "cfg")
    assert (actual - expected).abs().max() < 1e-3 * (plain - expected).abs().max()
    assert torch.allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("family", ["unet", "sd3", "flux"])
@pytest.mark.parametrize("guidance", GUIDANCES[1:], ids=str)
def test_weights_of_negative_words_match_float64(tiny, monkeypatch, family, guidance):
    pipe, order, call = model_call(tiny, family)
    encoded = tiny.encode("um gato:1.5 vermelho", negative="feio:4 dia", weighting="attention")
    reference = Reference(order, tiny.rows, guidance, weights=({CAT: 1.5}, {UGLY: 4.0}))
    expected = run_reference(monkeypatch, call, encoded.inputs, reference)
    actual, _ = run_session(pipe, call, encoded, guidance)
    unweighted, _ = run_session(pipe, call, tiny.encode(POSITIVE, negative=NEGATIVE), guidance)
    assert (actual - expected).abs().max() < 1e-2 * (unweighted - expected).abs().max()
    assert torch.allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("guidance", GUIDANCES[1:], ids=str)
def test_negative_word_in_a_region_matches_float64(tiny, monkeypatch, guidance):
    pipe, order, call = model_call(tiny, "flux")
    encoded = tiny.encode(POSITIVE, negative="feio:4{region=top} dia", weighting="attention")
    reference = Reference(
        order, tiny.rows, guidance, weights=({}, {UGLY: 4.0}), region=lambda pixels: slice(0, pixels // 2)
    )
    expected = run_reference(monkeypatch, call, encoded.inputs, reference)
    actual, _ = run_session(pipe, call, encoded, guidance)
    assert torch.allclose(actual, expected, atol=2e-5)


def test_negated_negative_word_in_a_region_acts_on_its_values(tiny):
    """A weight of -1 in one half of the image acts there as the positive word does: its value is negated."""
    pipe, _, call = model_call(tiny, "unet")
    guidance = NegativeGuidance("vsf", scale=1, offset=0)
    of_half = tiny.encode(POSITIVE, negative="feio:-1{region=left}", weighting="attention")
    of_whole = tiny.encode(POSITIVE, negative="feio:-1", weighting="attention")
    once = tiny.encode(POSITIVE, negative="feio", weighting="attention")
    half, whole, plain = (run_session(pipe, call, each, guidance)[0] for each in (of_half, of_whole, once))
    assert not torch.allclose(half, whole, atol=1e-4)
    assert not torch.allclose(half, plain, atol=1e-4)

    def change(session):
        session.set_weight("feio", -1, role="negative", region=(0, 0, 1, 1))

    assert torch.allclose(run_session(pipe, call, once, guidance, change)[0], whole, atol=1e-5)


@pytest.mark.parametrize("family", ["unet", "sd3", "flux"])
@pytest.mark.parametrize("guidance", GUIDANCES, ids=str)
def test_half_precision_is_close_to_float32(tiny, family, guidance):
    outputs = []
    for dtype in (torch.float32, torch.bfloat16):
        pipe, _, call = model_call(tiny, family)
        (pipe.unet if family == "unet" else pipe.transformer).to(dtype)
        encoded = tiny.encode(POSITIVE, negative=NEGATIVE, dtype=dtype)
        outputs.append(run_session(pipe, call, encoded, guidance)[0].float())
    assert outputs[1].isfinite().all()
    assert (outputs[0] - outputs[1]).norm() < 0.05 * outputs[0].norm()


@pytest.mark.parametrize("family", ["unet", "sd3", "flux"])
@pytest.mark.parametrize("guidance", ["nag", "vsf"])
def test_first_layer_records_the_attention_to_the_positive_prompt_alone(tiny, family, guidance):
    pipe, _, call = model_call(tiny, family)
    encoded = tiny.encode(POSITIVE, negative=NEGATIVE)
    record = Record(refine=True, patches=((0.5, 0.5),))
    sessions = [run_session(pipe, call, encoded, each, record=record)[1] for each in ("cfg", guidance)]
    plain, actual = (session.maps.recording.slots for session in sessions)
    kinds = set()
    for before, after in zip(plain, actual, strict=True):
        if before.layers[0] == plain[0].layers[0]:
            kinds.add(before.kind)
            assert torch.allclose(before.sums, after.sums, atol=1e-5)
    assert kinds == {"words", "refined", "patches", "rows"}
