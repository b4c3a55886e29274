"""Names of the weighting methods, normalizers and modes, importable without torch.

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
the dialect a1111 have the default of each text encoder."""

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

KeyMode = Literal["logit", "p2p", "value"]
KEY_MODES: tuple[KeyMode, ...] = get_args(KeyMode)
"""Modes in which a weight acts on the keys or values of the denoiser's attention."""

SessionMode = Literal[KeyMode, "split"]
"""Default mode of words in a session; "split" is "logit" for weights above 1 and leaves the others alone."""

AttachMode = Literal[KeyMode, "clip"]
ATTACH_MODES: tuple[AttachMode, ...] = get_args(AttachMode)
"""Modes of `space="attention"`: in the denoiser's attention, or inside the CLIP text encoders."""

EncoderMode = Literal["embedding", "clip", "split"]
ENCODER_MODES: tuple[EncoderMode, ...] = get_args(EncoderMode)
"""Modes before the denoiser: on the output of a text encoder, or inside the CLIP text encoders. With "split",
for sessions, weights above 1 act in attention as "logit", the others on the output of a text encoder."""

Space = Literal["embedding", "attention"]
SPACES: tuple[Space, ...] = get_args(Space)
"""Places where weights act: on the embeddings, or in attention."""

Pooled = Literal["clean", "weighted"]
POOLED: tuple[Pooled, ...] = get_args(Pooled)
"""The text of the pooled vector: without weights, or weighted."""


def resolve_mode(option: str | None, weight: float, default: str | None) -> str | None:
    """Return the mode in which a weight acts: its own `option`, else the default of the call.

    >>> resolve_mode(None, 1.4, "split"), resolve_mode(None, 0.5, "split"), resolve_mode("p2p", 0.5, "split")
    ('logit', 'embedding', 'p2p')
    """
    mode = option or default
    if mode == "split":
        return "logit" if weight > 1 else "embedding"
    return mode


def splits_weights(method: str | None, dialect: str) -> bool:
    """Return whether the mode "split" applies to a prompt: whether `presence` is its method.

    Args:
        method: the method of the call; None is the default of the dialect.
        dialect: the dialect of the prompt.
    """
    return (method or DIALECT_METHODS.get(dialect)) == "presence"
