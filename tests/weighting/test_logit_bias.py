"""Logit bias of a weight: its effect on a softmax."""

import math

import pytest
import torch

from promptweight.weighting import MASK_BIAS, compute_logit_bias


@pytest.mark.parametrize("weight", [0.1, 1.0, 1.4, 30.0, -1.4])
def test_logit_bias_multiplies_the_unnormalized_attention(weight):
    logits = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    bias = torch.tensor([0.0, compute_logit_bias(weight), 0.0], dtype=torch.float64)
    expected = logits.exp() * torch.tensor([1.0, abs(weight), 1.0], dtype=torch.float64)
    torch.testing.assert_close((logits + bias).softmax(-1), expected / expected.sum())


def test_logit_bias_of_weight_zero_masks_also_in_half_precision():
    assert compute_logit_bias(0.0) == compute_logit_bias(1e-300 * 1e-300) == MASK_BIAS
    assert math.isfinite(float(torch.tensor(MASK_BIAS, dtype=torch.float16)))
    assert torch.tensor([50.0, MASK_BIAS]).softmax(-1).tolist() == [1.0, 0.0]
