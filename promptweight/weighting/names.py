"""Names of the weightings, weighting methods and normalizers, importable without torch.

The command line, batch jobs, the app and argument checks import these lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

METHOD_DESCRIPTIONS: Mapping[str, str] = {
    "none": "Ignores the weights.",
    "scale": "Multiplies each token by its weight.",
    "a1111": "Multiplies, then restores the mean of the chunk, as AUTOMATIC1111 does.",
    "scale-rms": "Multiplies, then restores the mean size of the embeddings.",
    "comfy": "Moves each token away from the empty prompt, as ComfyUI does.",
    "compel": "As comfy, and blends in the prompt without the weakened words.",
    "down_weight": "Weakens all words but the strongest by hiding them.",
    "comfy++": "Weakens and strengthens by what changes without the word.",
    "presence": "Blends in the prompt without the phrase, so that a weight below 1 reaches every token.",
    "perp": "Changes how much of the empty prompt is left in each token.",
}
"""One sentence for each method that weights embeddings (`promptweight.weighting.METHODS`)."""

METHOD_NAMES = tuple(METHOD_DESCRIPTIONS)
"""Names of the weighting methods."""

DIALECT_METHODS: Mapping[str, str] = {
    "pw": "presence",
    "plain": "presence",
    "comfy": "comfy",
    "compel": "compel",
}
"""Default method of the prompts of a dialect: `presence`, or that of the tool with this dialect. Prompts of
the dialects a1111 and novelai (whose method is not published) have the default of each text encoder."""

NORMALIZER_DESCRIPTIONS: Mapping[str, str] = {
    "none": "Leaves the weights as they are.",
    "mean": "Shifts the weights so that their mean is 1: w + 1 − mean w.",
    "mean-div": "Divides the weights by their mean: w / mean w.",
    "length": "Spreads a weight over a segment of n tokens: 1 + (w − 1)/√n.",
    "length+mean": "length, then mean.",
}
"""One sentence for each normalizer of weights (`promptweight.weighting.NORMALIZERS`)."""

NORMALIZER_NAMES = tuple(NORMALIZER_DESCRIPTIONS)
"""Names of the normalizers."""

KeyWeighting = Literal["attention", "attention-p2p", "kjnodes"]
KEY_WEIGHTINGS: tuple[KeyWeighting, ...] = get_args(KeyWeighting)
"""Weightings in which a weight acts on the keys or the probabilities of the denoiser's attention."""

CLIP_ATTENTION: Literal["clip-attention"] = "clip-attention"
"""Weighting in which a weight acts in the self-attention of the CLIP text encoders."""

WordWeighting = Literal["embedding", KeyWeighting, "clip-attention"]
WORD_WEIGHTINGS: tuple[WordWeighting, ...] = ("embedding", *KEY_WEIGHTINGS, CLIP_ATTENTION)
"""Values of a word's own option `weighting`; `embedding` stands for the method of its text encoder."""

DefaultWeighting = Literal[WordWeighting, "split", "presence"]
"""Weighting of words without an option; "split" is `attention` for weights above 1 and for words that only
attention can weight as they ask, else `embedding`; "presence" is `attention`, and weights below 1 also act on
the embeddings of the other words."""

WEIGHTING_DESCRIPTIONS: Mapping[str, str] = {
    **METHOD_DESCRIPTIONS,
    "attention": "Adds log w to the logits of the word's keys in the denoiser's attention.",
    "attention-p2p": "Multiplies the word's attention probabilities, as prompt-to-prompt does.",
    "kjnodes": "Below 1 multiplies the word's values, above 1 adds 2(w - 1) to its logits, as KJNodes.",
    CLIP_ATTENTION: "Adds log w to the logits of the word's keys inside the CLIP text encoders.",
}
"""One sentence for each name of a `Weighting`."""

WEIGHTING_NAMES = tuple(WEIGHTING_DESCRIPTIONS)
"""Names of a `Weighting`: the methods on embeddings, and the weightings in attention."""

Pooled = Literal["clean", "weighted"]
POOLED: tuple[Pooled, ...] = get_args(Pooled)
"""The text of the pooled vector: without weights, or weighted."""


def resolve_word_weighting(
    option: WordWeighting | None, weight: float, default: DefaultWeighting, *, is_local: bool = False
) -> WordWeighting:
    """Return how the weight of a word acts: by its own `option`, else by the default of the call.

    Args:
        option: the word's own option; None without one.
        weight: the weight.
        default: the default of the call.
        is_local: whether the weight is limited to steps or to a region.

    >>> resolve_word_weighting(None, 1.4, "split"), resolve_word_weighting(None, 0.5, "split")
    ('attention', 'embedding')
    """
    if option is not None:
        return option
    if default == "presence":
        return "attention"
    if default == "split":
        return "attention" if weight > 1 or is_local else "embedding"
    return default
