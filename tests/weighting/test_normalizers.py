"""Normalizers of weights against formulas derived again in numpy and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from promptweight.errors import SettingError
from promptweight.weighting import NORMALIZERS, get_normalizer

TOKENS = 12
# A beginning, words and segments, an end, padding.
WEIGHTS = np.array([1, 1.3, 1.3, 1, 0.5, 0.5, 1, 0.7, 1.6, 1, 1, 1], dtype=np.float32)
SEGMENTS = np.array([-1, 0, 0, 1, 2, 2, 3, 4, 5, -1, -1, -1])
IS_TEXT = SEGMENTS >= 0


def normalized(name, weights=WEIGHTS):
    return NORMALIZERS[name](
        torch.tensor(weights), is_text=torch.tensor(IS_TEXT), segments=torch.tensor(SEGMENTS)
    ).numpy()


def expected_length(w):
    result = w.astype(np.float64).copy()
    for t in range(TOKENS):
        if IS_TEXT[t]:
            n = int((SEGMENTS[t] == SEGMENTS).sum())
            result[t] = 1 + np.sign(w[t] - 1) * math.sqrt(abs(w[t] - 1) ** 2 / n)
    return result


def expected_mean(w):
    shift = 1 - w[IS_TEXT].astype(np.float64).mean()
    return np.where(IS_TEXT, w + shift, w)


def test_normalizers_equal_their_derived_formulas():
    w = WEIGHTS
    assert set(NORMALIZERS) == {"none", "mean", "mean-div", "length", "length+mean"}
    assert np.array_equal(normalized("none"), w)
    np.testing.assert_allclose(normalized("mean"), expected_mean(w), atol=1e-6)
    divided = np.where(IS_TEXT, w / w[IS_TEXT].astype(np.float64).mean(), w)
    np.testing.assert_allclose(normalized("mean-div"), divided, atol=1e-6)
    np.testing.assert_allclose(normalized("length"), expected_length(w), atol=1e-6)
    np.testing.assert_allclose(normalized("length+mean"), expected_mean(expected_length(w)), atol=1e-6)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizer_keeps_weights_of_one_and_treats_each_prompt_alone(name):
    ones = np.ones_like(WEIGHTS)
    assert np.array_equal(normalized(name, ones), ones)
    other = np.where(SEGMENTS == 1, 0.2, WEIGHTS).astype(np.float32)
    together = normalized(name, np.stack([WEIGHTS, other]))
    assert np.array_equal(together, np.stack([normalized(name), normalized(name, other)]))
    bare = NORMALIZERS[name](torch.tensor(WEIGHTS))
    assert bare.shape == (TOKENS,)


def test_mean_div_with_a_mean_of_zero_raises():
    with pytest.raises(SettingError, match="needs weights whose mean is not 0"):
        NORMALIZERS["mean-div"](torch.tensor([1.0, -1.0]))


def test_normalizer_without_text_tokens_keeps_the_weights():
    nothing = torch.zeros(3, dtype=torch.bool)
    for normalizer in NORMALIZERS.values():
        assert torch.equal(normalizer(torch.ones(3), is_text=nothing), torch.ones(3))


def test_get_normalizer_returns_known_names_and_lists_them_for_others():
    assert get_normalizer("mean") is NORMALIZERS["mean"]
    with pytest.raises(SettingError, match=r"normalizer must be one of: none, mean, .*; got 'magic'"):
        get_normalizer("magic")
