"""Weighting methods against formulas derived again in numpy and plain loops, from the sources they name."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from promptweight.errors import SettingError
from promptweight.weighting import METHODS, WeightingWarning, get_method
from promptweight.weighting.methods import a1111

TOKENS, DIM = 12, 8
# A beginning, words and segments, an end, padding.
WEIGHTS = np.array([1, 1.3, 1.3, 1, 0.5, 0.5, 1, 0.7, 1.6, 1, 1, 1], dtype=np.float32)
SEGMENTS = np.array([-1, 0, 0, 1, 2, 2, 3, 4, 5, -1, -1, -1])
IS_TEXT = SEGMENTS >= 0
IS_PADDING = np.arange(TOKENS) >= 10

RANDOM = np.random.default_rng(7)
TABLE = RANDOM.normal(size=(TOKENS, DIM)).astype(np.float32)
MIX = np.tril(RANDOM.normal(size=(TOKENS, TOKENS))).astype(np.float32)
EMPTY = RANDOM.normal(size=(TOKENS, DIM)).astype(np.float32)


def toy_encoder(hidden: np.ndarray) -> np.ndarray:
    """Encode causally: a hidden token changes all rows after it."""
    table = np.where(hidden[:, None], 0.25, TABLE)
    return np.tanh(MIX @ table).astype(np.float32) + 0.3


PROMPT = toy_encoder(np.zeros(TOKENS, dtype=bool))


def encode(hidden: torch.Tensor) -> torch.Tensor:
    rows = hidden.reshape(-1, TOKENS).numpy()
    return torch.tensor(np.stack([toy_encoder(row) for row in rows])).reshape(*hidden.shape, DIM)


CONTEXT = {
    "encode": encode,
    "segments": torch.tensor(SEGMENTS),
    "is_text": torch.tensor(IS_TEXT),
    "is_padding": torch.tensor(IS_PADDING),
}


def apply(name, prompt=PROMPT, weights=WEIGHTS, empty=EMPTY, **context):
    return METHODS[name](torch.tensor(prompt), torch.tensor(weights), torch.tensor(empty), **context)


def expected_scale(b, w, e):
    return np.array([[b[t, d] * w[t] for d in range(DIM)] for t in range(TOKENS)])


def expected_a1111(b, w, e):
    y = expected_scale(b, w, e)
    return y * (b.mean() / y.mean())


def expected_scale_rms(b, w, e):
    y = expected_scale(b, w, e)
    before = sum(float(b[t, d]) ** 2 for t in range(TOKENS) if not IS_PADDING[t] for d in range(DIM))
    after = sum(float(y[t, d]) ** 2 for t in range(TOKENS) if not IS_PADDING[t] for d in range(DIM))
    return y * math.sqrt(before / after)


def expected_comfy(b, w, e):
    return np.array([e[t] + (b[t] - e[t]) * w[t] for t in range(TOKENS)])


def expected_perp(b, w, e):
    rows = []
    for t in range(TOKENS):
        along = (e[t] @ b[t]) / (np.linalg.norm(b[t]) ** 2) * b[t]
        if w[t] == 0:
            rows.append(e[t])
        elif abs(w[t]) > 1:
            rows.append(b[t] + w[t] * along)
        else:
            rows.append(b[t] - (1 - w[t]) * along)
    return np.array(rows)


def expected_compel(b, w, e):
    encodings, amounts = [expected_comfy(b, w, e)], [1.0]
    for segment in range(6):
        members = segment == SEGMENTS
        weight = w[members][0]
        if weight < 1:
            encodings.append(expected_comfy(toy_encoder(members), w, e))
            amounts.append(math.tan((1.0 - max(1e-5, float(weight))) * math.pi / 2))
    return np.average(encodings, axis=0, weights=amounts)


def blend_of_hidden(b, w):
    """Blend as `down_weight` of ADV_CLIP_emb: np.unique, np.diff, and one encoding for each level below 1."""
    levels = np.unique(w)
    encodings, hidden = [b], np.zeros(TOKENS, dtype=bool)
    for level in levels[levels < 1]:
        hidden = hidden | (w == level)
        encodings.append(toy_encoder(hidden))
    shares = np.diff([0, *levels[levels <= 1]])
    return sum(share * encoding for share, encoding in zip(shares, encodings, strict=True))


def expected_down_weight(b, w, e):
    return blend_of_hidden(b, np.where(IS_TEXT, w / w.max(), 1.0))


def expected_comfy_plus_plus(b, w, e):
    result = blend_of_hidden(b, w)
    for segment in range(6):
        members = segment == SEGMENTS
        weight = w[members][0]
        if weight > 1:
            result += np.where(members[:, None], (weight - 1) * (b - toy_encoder(members)), 0)
    return result


def expected_presence(b, w, e):
    """Mean direction and mean logarithm of the length over thresholds u from 0 to 1.

    At a threshold the tokens whose weight is below it are absent.
    """
    thresholds = (np.arange(10) + 0.5) / 10  # WEIGHTS are tenths
    samples = np.stack([toy_encoder(w < u) for u in thresholds])
    lengths = np.linalg.norm(samples, axis=-1, keepdims=True)
    blend = np.exp(np.log(lengths).mean(0)) * (samples / lengths).mean(0)
    return np.array([blend[t] * max(1.0, w[t]) for t in range(TOKENS)])


EXPECTED = {
    "none": lambda b, w, e: b,
    "scale": expected_scale,
    "a1111": expected_a1111,
    "scale-rms": expected_scale_rms,
    "comfy": expected_comfy,
    "compel": expected_compel,
    "down_weight": expected_down_weight,
    "comfy++": expected_comfy_plus_plus,
    "perp": expected_perp,
    "presence": expected_presence,
}


def test_methods_have_a_derivation_and_a_one_line_description():
    assert set(METHODS) == set(EXPECTED)
    for name, method in METHODS.items():
        assert (method.name, method.description.count("\n")) == (name, 0)
        assert method.description.endswith(".")


@pytest.mark.parametrize("name", METHODS)
def test_method_equals_its_derived_formula(name):
    expected = EXPECTED[name](PROMPT.astype(np.float64), WEIGHTS.astype(np.float64), EMPTY.astype(np.float64))
    np.testing.assert_allclose(apply(name, **CONTEXT).numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("weight", [-1.5, -0.4, 0.0, 0.3, 2.0])
@pytest.mark.parametrize("name", ["scale", "scale-rms", "comfy", "perp", "compel", "comfy++", "down_weight"])
def test_method_at_unusual_weights_equals_its_derived_formula(name, weight):
    weights = np.where(SEGMENTS == 2, np.float32(weight), WEIGHTS)
    expected = EXPECTED[name](PROMPT.astype(np.float64), weights.astype(np.float64), EMPTY.astype(np.float64))
    np.testing.assert_allclose(apply(name, weights=weights, **CONTEXT).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_method_with_weights_of_one_returns_the_embeddings_bit_for_bit(name):
    ones = np.ones(TOKENS, dtype=np.float32)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        b, e = torch.tensor(PROMPT).to(dtype), torch.tensor(EMPTY).to(dtype)
        result = METHODS[name](b, torch.tensor(ones), e, **CONTEXT)
        assert result.dtype == dtype
        assert torch.equal(result, b)


@pytest.mark.parametrize("name", METHODS)
def test_method_on_a_batch_equals_each_prompt_alone(name):
    other = np.where(SEGMENTS == 1, 0.2, np.where(SEGMENTS == 5, 1.0, WEIGHTS)).astype(np.float32)
    weights = torch.tensor(np.stack([WEIGHTS, other, np.ones_like(WEIGHTS)]))
    b = torch.tensor(PROMPT)
    together = METHODS[name](b.expand(3, -1, -1), weights, torch.tensor(EMPTY), **CONTEXT)
    alone = torch.stack([METHODS[name](b, row, torch.tensor(EMPTY), **CONTEXT) for row in weights])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    shared = METHODS[name](b.expand(3, -1, -1), weights[0], torch.tensor(EMPTY), **CONTEXT)
    torch.testing.assert_close(shared, alone[:1].expand(3, -1, -1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_method_in_half_precision_computes_in_float32(name):
    b, e = torch.tensor(PROMPT).half(), torch.tensor(EMPTY).half()
    halves = METHODS[name](b, torch.tensor(WEIGHTS), e, **CONTEXT)
    full = METHODS[name](b.float(), torch.tensor(WEIGHTS), e.float(), **CONTEXT)
    assert torch.equal(halves, full.half())


# perp is excluded: its source is discontinuous at both weights, and its values are reproduced.
@pytest.mark.parametrize("name", [name for name in METHODS if name != "perp"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_method_near_zero_and_one_is_continuous(name, weight):
    def at(value: float) -> torch.Tensor:
        weights = np.where(SEGMENTS == 2, np.float32(value), WEIGHTS)
        return apply(name, weights=weights, **CONTEXT)

    for step in (-1e-4, 1e-4):
        assert (at(weight + step) - at(weight)).abs().max() < 2e-3


def test_a1111_restores_the_mean_of_each_chunk():
    b = np.concatenate([PROMPT, 2 * PROMPT])
    w = np.concatenate([WEIGHTS, np.ones(TOKENS, dtype=np.float32)])
    result = a1111(torch.tensor(b), torch.tensor(w), chunk_rows=TOKENS)
    first = expected_a1111(PROMPT.astype(np.float64), WEIGHTS, None)
    np.testing.assert_allclose(result[:TOKENS].numpy(), first, atol=2e-6)
    assert np.array_equal(result[TOKENS:].numpy(), 2 * PROMPT)
    with pytest.raises(SettingError, match="chunk_rows must divide the number of tokens, 24; got 7"):
        a1111(torch.tensor(b), torch.tensor(w), chunk_rows=7)


def test_a1111_with_a_vanishing_mean_warns_and_skips_the_ratio():
    centered = PROMPT - (PROMPT * WEIGHTS[:, None]).sum() / (WEIGHTS.sum() * DIM) + 1e-3
    with pytest.warns(WeightingWarning, match="its factor .* is not between 0.5 and 2"):
        guarded = apply("a1111", prompt=centered)
    np.testing.assert_allclose(guarded.numpy(), expected_scale(centered, WEIGHTS, None), atol=1e-6)
    strict = a1111(torch.tensor(centered.astype(np.float64)), torch.tensor(WEIGHTS), strict=True)
    y = centered.astype(np.float64) * WEIGHTS[:, None].astype(np.float64)
    np.testing.assert_allclose(strict.numpy(), y * centered.astype(np.float64).mean() / y.mean(), rtol=1e-6)
    warnings: list[str] = []
    apply("a1111", prompt=centered, warn=warnings.append)
    assert len(warnings) == 1


def test_empty_embeds_of_one_chunk_repeat_for_every_chunk():
    b, w = np.concatenate([PROMPT, PROMPT]), np.concatenate([WEIGHTS, WEIGHTS])
    result = apply("comfy", prompt=b, weights=w)
    once = expected_comfy(PROMPT, WEIGHTS, EMPTY)
    np.testing.assert_allclose(result.numpy(), np.concatenate([once, once]), atol=2e-6)
    with pytest.raises(SettingError, match="must be a multiple of the 7 tokens of empty_embeds; got 12"):
        apply("comfy", empty=EMPTY[:7])


def test_segments_default_to_runs_of_equal_weight():
    runs = {"encode": encode, "is_text": torch.tensor(IS_TEXT)}
    for name in ("compel", "comfy++"):
        torch.testing.assert_close(apply(name, **runs), apply(name, **CONTEXT), rtol=0, atol=1e-6)


def test_perp_leaves_a_zero_vector_unchanged():
    b = PROMPT.copy()
    b[4] = 0
    assert np.array_equal(apply("perp", prompt=b)[4].numpy(), b[4])


def test_method_with_weights_of_another_shape_raises():
    with pytest.raises(SettingError, match=r"one weight for each token .*; got shape \(11,\)"):
        apply("scale", weights=WEIGHTS[1:])


def test_get_method_returns_known_names_and_lists_them_for_others():
    assert get_method("comfy") is METHODS["comfy"]
    with pytest.raises(SettingError, match=r"method must be one of: none, scale, .*; got 'magic'"):
        get_method("magic")
