"""Prompt weights as arithmetic on embeddings: one pure function for each method, by name in `METHODS`.

A method takes what a text encoder made of a prompt (b, `prompt_embeds`), a weight for each token (w,
`weights`, 1 on the special tokens) and what the encoder makes of the empty prompt (e, `empty_embeds`), and
gives embeddings of the same shape and type:

    >>> import torch
    >>> b, e = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2, 2)
    >>> METHODS["scale"](b, torch.tensor([1.0, 1.5]), e)
    tensor([[1.0000, 2.0000],
            [4.5000, 6.0000]])

Shapes are (tokens, dim) or (batch, tokens, dim), weights (tokens) or (batch, tokens). Every prompt of a batch
is computed by itself, in float32 (float64 stays float64). Weights of 1 give the embeddings back bit for bit.

Some methods encode the prompt again with tokens hidden. They take `encode`: given a boolean mask of the shape
(tokens) or (batch, tokens), True where a token is to be hidden, it returns the prompt's embeddings.
`Method.hides` says how they are hidden: "attention" (masked in the encoder's self-attention) or "token" (a
neutral token in their place). `NORMALIZERS` change the weights before a method uses them.
"""

# ruff: noqa: ARG001 - every method is called in the same way, also one that needs no empty prompt

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from promptweight.errors import SettingError
from promptweight.messages import Message, message
from promptweight.weighting.normalizers import NORMALIZERS, Normalizer, get_normalizer, number_runs

Encode = Callable[[Tensor], Tensor]

__all__ = [
    "METHODS",
    "NORMALIZERS",
    "Method",
    "Normalizer",
    "WeightingWarning",
    "get_method",
    "get_normalizer",
]


class WeightingWarning(UserWarning):
    """A method could not do what its formula says and did something close to it."""


def _warn(message: str) -> None:
    warnings.warn(message, WeightingWarning, stacklevel=4)


def none(prompt_embeds: Tensor, weights: Tensor, empty_embeds: Tensor | None = None) -> Tensor:
    """b: the weights are not applied."""
    return prompt_embeds


def scale(prompt_embeds: Tensor, weights: Tensor, empty_embeds: Tensor | None = None) -> Tensor:
    """b·w (AUTOMATIC1111's "No norm", sd_embed)."""
    b, w = _operands(prompt_embeds, weights)
    return (b * w).to(prompt_embeds.dtype)


def a1111(
    prompt_embeds: Tensor,
    weights: Tensor,
    empty_embeds: Tensor | None = None,
    *,
    chunk_rows: int | None = None,
    strict: bool = False,
    warn: Callable[[Message], None] = _warn,
) -> Tensor:
    """y·mean(b)/mean(y), y = b·w, for every chunk of `chunk_rows` tokens (AUTOMATIC1111's "Original").

    A mean near zero makes the ratio explode or change sign. Where it is not finite or outside [0.5, 2] the
    chunk is left at y and `warn` is called with one sentence; `strict` keeps AUTOMATIC1111's own number.
    """
    b, w = _operands(prompt_embeds, weights)
    y = b * w
    tokens = b.shape[-2]
    rows = chunk_rows or tokens
    if tokens % rows:
        raise SettingError(f"{tokens} tokens are not whole chunks of {rows} tokens (chunk_rows).")
    chunked = (tokens // rows, rows)
    means = [x.unflatten(-2, chunked).mean((-2, -1), keepdim=True) for x in (b, y)]
    ratio = means[0] / means[1]
    if not strict:
        sound = (ratio >= 0.5) & (ratio <= 2.0)
        if not bool(sound.all()):
            worst = [f"{value:.3g}" for value in ratio[~sound].tolist()]
            warn(
                message(
                    "a1111-not-renormalized",
                    factors=", ".join(worst),
                )
            )
        ratio = torch.where(sound, ratio, 1.0)
    return (y.unflatten(-2, chunked) * ratio).flatten(-3, -2).to(prompt_embeds.dtype)


def scale_rms(
    prompt_embeds: Tensor,
    weights: Tensor,
    empty_embeds: Tensor | None = None,
    *,
    is_padding: Tensor | None = None,
) -> Tensor:
    """y·√(mean b² / mean y²), y = b·w, means over the tokens that are not padding.

    Keeps the size of the embeddings as `a1111` means to, whatever the sign of their mean or of the weights.
    """
    b, w = _operands(prompt_embeds, weights)
    y = b * w
    counted = torch.ones_like(w) if is_padding is None else (~is_padding[..., None]).to(b)
    squares = [(x.square() * counted).sum((-2, -1), keepdim=True) for x in (b, y)]
    ratio = torch.where(squares[1] > 0, (squares[0] / squares[1]).sqrt(), 1.0)
    return (y * ratio).to(prompt_embeds.dtype)


def comfy(prompt_embeds: Tensor, weights: Tensor, empty_embeds: Tensor) -> Tensor:
    """e + (b − e)·w (ComfyUI)."""
    b, w = _operands(prompt_embeds, weights)
    return _from_empty(b, w, _empty_like(empty_embeds, b)).to(prompt_embeds.dtype)


def perp(prompt_embeds: Tensor, weights: Tensor, empty_embeds: Tensor) -> Tensor:
    """Weigh p, the part of e along b: b − (1 − w)·p for |w| ≤ 1, else b + w·p; e where w = 0.

    The numbers of comfyui-prompt-control, with its two jumps: from b to b + p just above w = 1, and from
    b − p to e at w = 0.
    """
    b, w = _operands(prompt_embeds, weights)
    e = _empty_like(empty_embeds, b)
    squared = b.square().sum(-1, keepdim=True)
    p = torch.where(squared > 0, (e * b).sum(-1, keepdim=True) / squared, 0.0) * b
    weighted = torch.where(w.abs() > 1, b + w * p, b - (1 - w) * p)
    return torch.where(w == 0, e, weighted).to(prompt_embeds.dtype)


def compel(
    prompt_embeds: Tensor,
    weights: Tensor,
    empty_embeds: Tensor,
    *,
    encode: Encode,
    segments: Tensor | None = None,
) -> Tensor:
    """(B + Σ l·B_f) / (1 + Σ l), B = e + (b − e)·w, over the segments f of weight below 1 (compel).

    B_f is B made from the prompt encoded with f hidden; l = tan((1 − max(w_f, 1e-5))·π/2). `segments` numbers
    the weighted stretches of the prompt, one number a token (default: each run of tokens of equal weight).
    """
    b, w = _operands(prompt_embeds, weights)
    e = _empty_like(empty_embeds, b)
    total = _from_empty(b, w, e)
    share = torch.ones_like(w[..., :1, :])
    for hidden, weight in _segments_where(w[..., 0] < 1, w[..., 0], segments):
        amount = torch.tan((1 - weight.clamp(min=1e-5)) * (math.pi / 2)) * hidden.any(-1)
        amount = amount[..., None, None]
        total = total + amount * _from_empty(encode(hidden).to(b), w, e)
        share = share + amount
    return (total / share).to(prompt_embeds.dtype)


def down_weight(
    prompt_embeds: Tensor,
    weights: Tensor,
    empty_embeds: Tensor | None = None,
    *,
    encode: Encode,
    is_text: Tensor | None = None,
) -> Tensor:
    """Divide the weights by the largest, then blends encodings with ever more words hidden (ADV_CLIP_emb).

    With u_1 < … < u_n = 1 the distinct weights below 1, and 1, u_0 = 0, and A_k the prompt with the tokens of
    weight ≤ u_k hidden: Σ (u_k − u_(k−1))·A_(k−1). Tokens outside `is_text` keep the weight 1.
    """
    b, w = _operands(prompt_embeds, weights)
    divided = w[..., 0] / w[..., 0].amax(-1, keepdim=True).clamp(min=1)
    if is_text is not None:
        divided = torch.where(is_text, divided, 1.0)
    return _blend_of_hidden(b, divided, encode).to(prompt_embeds.dtype)


def comfy_plus_plus(
    prompt_embeds: Tensor,
    weights: Tensor,
    empty_embeds: Tensor | None = None,
    *,
    encode: Encode,
    segments: Tensor | None = None,
) -> Tensor:
    """The blend of `down_weight`, plus (w − 1)·(b − b without the segment) on each segment with w > 1.

    From ADV_CLIP_emb; `segments` as in `compel`.
    """
    b, w = _operands(prompt_embeds, weights)
    weighted = _blend_of_hidden(b, w[..., 0], encode)
    for hidden, weight in _segments_where(w[..., 0] > 1, w[..., 0], segments):
        change = (weight - 1)[..., None, None] * (b - encode(hidden).to(b))
        weighted = weighted + torch.where(hidden[..., None], change, 0.0)
    return weighted.to(prompt_embeds.dtype)


@dataclass(frozen=True, slots=True)
class Method:
    """A way to weigh embeddings; `hides` says how tokens are hidden from the encoder where it needs that."""

    name: str
    description: str
    function: Callable[..., Tensor]
    hides: Literal["", "attention", "token"] = ""

    def __call__(
        self, prompt_embeds: Tensor, weights: Tensor, empty_embeds: Tensor, **context: Any
    ) -> Tensor:
        """Apply the method; of `context` it takes the keywords that its function knows."""
        known = inspect.signature(self.function).parameters
        used = {name: value for name, value in context.items() if name in known}
        return self.function(prompt_embeds, weights, empty_embeds, **used)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("none", "Ignores the weights.", none),
        Method("scale", "Multiplies each token by its weight.", scale),
        Method("a1111", "Multiplies, then restores the mean of the chunk, as AUTOMATIC1111 does.", a1111),
        Method("scale-rms", "Multiplies, then restores the mean size of the embeddings.", scale_rms),
        Method("comfy", "Moves each token away from the empty prompt, as ComfyUI does.", comfy),
        Method(
            "compel", "As comfy, and blends in the prompt without the weakened words.", compel, "attention"
        ),
        Method("down_weight", "Weakens all words but the strongest by hiding them.", down_weight, "token"),
        Method(
            "comfy++", "Weakens and strengthens by what changes without the word.", comfy_plus_plus, "token"
        ),
        Method("perp", "Changes how much of the empty prompt is left in each token.", perp),
    )
}
"""The methods by name."""


def get_method(name: str) -> Method:
    """The method of that name; raises `SettingError` listing the names there are."""
    if name not in METHODS:
        raise SettingError(f"{name!r} is no method for embeddings; there are: {', '.join(METHODS)}.")
    return METHODS[name]


def _operands(prompt_embeds: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """b in the type of the computation, and w as (…, tokens, 1) in the same type."""
    if weights.shape not in (prompt_embeds.shape[-2:-1], prompt_embeds.shape[:-1]):
        raise SettingError(
            f"Weights of shape {tuple(weights.shape)} do not fit embeddings of shape "
            f"{tuple(prompt_embeds.shape)}: one weight for each token is needed."
        )
    b = prompt_embeds.to(torch.promote_types(prompt_embeds.dtype, torch.float32))
    return b, weights.to(b).expand(b.shape[:-1])[..., None]


def _empty_like(empty_embeds: Tensor, b: Tensor) -> Tensor:
    """e in the type of b, repeated for each chunk where it is the empty prompt of one."""
    rows, tokens = empty_embeds.shape[-2], b.shape[-2]
    if tokens % rows:
        raise SettingError(f"{tokens} tokens are not whole chunks of the empty prompt's {rows} tokens.")
    return empty_embeds.to(b).repeat(*[1] * (empty_embeds.ndim - 2), tokens // rows, 1)


def _from_empty(b: Tensor, w: Tensor, e: Tensor) -> Tensor:
    """e + (b − e)·w, with b itself where w = 1."""
    return torch.where(w == 1, b, e + (b - e) * w)


def _blend_of_hidden(b: Tensor, weights: Tensor, encode: Encode) -> Tensor:
    """Σ (u_k − u_(k−1))·A_(k−1) over the levels u of the weights up to 1 (see `down_weight`)."""
    tokens = weights.shape[-1]
    levels = [[0.0, *row[row < 1].unique().tolist(), 1.0] for row in weights.reshape(-1, tokens)]
    blend = torch.zeros_like(b)
    for k in range(max(len(row) for row in levels) - 1):
        steps = [row[k + 1] - row[k] if k + 1 < len(row) else 0.0 for row in levels]
        hidden_up_to = [row[k] if 0 < k < len(row) - 1 else -math.inf for row in levels]
        share, level = (weights.new_tensor(x).reshape(weights.shape[:-1]) for x in (steps, hidden_up_to))
        encoded = b if k == 0 else encode(weights <= level[..., None]).to(b)
        blend = blend + share[..., None, None] * encoded
    return blend


def _segments_where(
    chosen: Tensor, weights: Tensor, segments: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The k-th chosen segment of every prompt, for each k: its mask (…, tokens), its weight (…)."""
    numbers = number_runs(weights) if segments is None else segments.expand(weights.shape)
    found = [
        [one_prompt & (numbers_of_prompt == number) for number in numbers_of_prompt[one_prompt].unique()]
        for one_prompt, numbers_of_prompt in zip(
            chosen.reshape(-1, chosen.shape[-1]), numbers.reshape(-1, chosen.shape[-1]), strict=True
        )
    ]
    nothing = torch.zeros_like(chosen.reshape(-1, chosen.shape[-1])[0])
    for k in range(max(len(masks) for masks in found)):
        mask = torch.stack([masks[k] if k < len(masks) else nothing for masks in found]).reshape(chosen.shape)
        first = mask.to(torch.uint8).argmax(-1, keepdim=True)
        yield mask, weights.gather(-1, first)[..., 0]
