"""Logit bias of a weight in attention: the term that multiplies the unnormalized attention to a key."""

import math

MASK_BIAS = -1.0e4
"""The logit bias of weight 0: far below any logit, finite, and representable in float16."""


def compute_logit_bias(weight: float) -> float:
    """Compute log |weight|, at least `MASK_BIAS`, which is the bias of weight 0.

    >>> compute_logit_bias(1.0), compute_logit_bias(0.0)
    (0.0, -10000.0)
    """
    return max(math.log(abs(weight)), MASK_BIAS) if weight else MASK_BIAS
