"""Weighting methods: the formulas that apply prompt weights to text embeddings, by name in `METHODS`.

A method takes the embeddings of a prompt (b, `prompt_embeds`), one weight for each token (w, `weights`, 1 on
the special tokens) and the embeddings of the empty prompt (e, `empty_embeds`), and returns embeddings of the
same shape and dtype:

    >>> import torch
    >>> b, e = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2, 2)
    >>> METHODS["scale"](b, torch.tensor([1.0, 1.5]), e)
    tensor([[1.0000, 2.0000],
            [4.5000, 6.0000]])

Embeddings have the shape (tokens, dim) or (batch, tokens, dim), weights (tokens) or (batch, tokens). Each
prompt of a batch is computed independently, in float32 (float64 stays float64). Weights of 1 return the
embeddings bit for bit.

Some methods encode the prompt again with tokens hidden. They take `encode`, a function from a boolean mask of
shape (tokens) or (batch, tokens), True where a token is hidden, to the prompt's embeddings. `Method.hides`
names the way of hiding: "attention" (the token is masked in the encoder's self-attention), "token" (a neutral
token replaces it) or "removal" (the prompt is encoded without it).
"""

# ruff: noqa: ARG001 - all methods share one signature, and some of them do not use `empty_embeds`

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
from promptweight.validation import check_choice
from promptweight.weighting.names import METHOD_DESCRIPTIONS
from promptweight.weighting.segments import select_segments

Hiding = Literal["", "attention", "token", "removal"]
"""A way to hide tokens from a text encoder: masked in its self-attention, replaced by a neutral token, or
removed, where the tokens behind them move up. An empty string stands for none."""

Encode = Callable[[Tensor], Tensor]
"""Returns the embeddings of the prompt with the tokens of a boolean mask hidden."""


class WeightingWarning(UserWarning):
    """A method replaced its formula by a similar one for these values."""


def _warn(message: str) -> None:
    warnings.warn(message, WeightingWarning, stacklevel=4)


def none(prompt_embeds: Tensor, weights: Tensor, empty_embeds: Tensor | None = None) -> Tensor:
    """Return b; the weights are not applied."""
    return prompt_embeds


def scale(prompt_embeds: Tensor, weights: Tensor, empty_embeds: Tensor | None = None) -> Tensor:
    """Compute b·w (AUTOMATIC1111 "No norm", sd_embed)."""
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
    """Compute y·mean(b)/mean(y), y = b·w, for every chunk of `chunk_rows` tokens (AUTOMATIC1111 "Original").

    A mean near zero makes the ratio explode or change sign. Where the ratio is not finite or outside [0.5, 2]
    the chunk stays y and `warn` receives one message; `strict` keeps AUTOMATIC1111's own value.

    Raises:
        SettingError: the tokens are not whole chunks of `chunk_rows`.
    """
    b, w = _operands(prompt_embeds, weights)
    y = b * w
    tokens = b.shape[-2]
    rows = chunk_rows or tokens
    if tokens % rows:
        raise SettingError(message("chunk-rows", tokens=tokens, rows=rows))
    chunked = (tokens // rows, rows)
    means = [x.unflatten(-2, chunked).mean((-2, -1), keepdim=True) for x in (b, y)]
    ratio = means[0] / means[1]
    if not strict:
        in_range = (ratio >= 0.5) & (ratio <= 2.0)
        if not bool(in_range.all()):
            factors = [f"{value:.3g}" for value in ratio[~in_range].tolist()]
            warn(message("a1111-not-renormalized", factors=", ".join(factors)))
        ratio = torch.where(in_range, ratio, 1.0)
    return (y.unflatten(-2, chunked) * ratio).flatten(-3, -2).to(prompt_embeds.dtype)


def scale_rms(
    prompt_embeds: Tensor,
    weights: Tensor,
    empty_embeds: Tensor | None = None,
    *,
    is_padding: Tensor | None = None,
) -> Tensor:
    """Compute y·√(mean b² / mean y²), y = b·w, with means over the tokens that are not padding.

    Keeps the root mean square of the embeddings, whatever the sign of their mean or of the weights; `a1111`
    keeps their mean for the same purpose.
    """
    b, w = _operands(prompt_embeds, weights)
    y = b * w
    counted = torch.ones_like(w) if is_padding is None else (~is_padding[..., None]).to(b)
    squares = [(x.square() * counted).sum((-2, -1), keepdim=True) for x in (b, y)]
    ratio = torch.where(squares[1] > 0, (squares[0] / squares[1]).sqrt(), 1.0)
    return (y * ratio).to(prompt_embeds.dtype)


def comfy(prompt_embeds: Tensor, weights: Tensor, empty_embeds: Tensor) -> Tensor:
    """Compute e + (b − e)·w (ComfyUI)."""
    b, w = _operands(prompt_embeds, weights)
    return _from_empty(b, w, _empty_like(empty_embeds, b)).to(prompt_embeds.dtype)


def perp(prompt_embeds: Tensor, weights: Tensor, empty_embeds: Tensor) -> Tensor:
    """Weight p, the projection of e onto b: b − (1 − w)·p for |w| ≤ 1, else b + w·p; e where w = 0.

    Reproduces comfyui-prompt-control with its two discontinuities: from b to b + p just above w = 1, and from
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
    """Compute (B + Σ l·B_f) / (1 + Σ l), B = e + (b − e)·w, over the segments f of weight below 1 (compel).

    B_f is B of the prompt encoded with f hidden; l = tan((1 − max(w_f, 1e-5))·π/2). `segments` holds the
    number of each token's weighted segment (default: each run of tokens of equal weight is a segment).
    """
    b, w = _operands(prompt_embeds, weights)
    e = _empty_like(empty_embeds, b)
    total = _from_empty(b, w, e)
    share = torch.ones_like(w[..., :1, :])
    for hidden, weight in select_segments(w[..., 0] < 1, w[..., 0], segments):
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
    """Divide the weights by the largest, then blend encodings with more and more words hidden (ADV_CLIP_emb).

    Computes Σ (u_k − u_(k−1))·A_(k−1), where u_1 < … < u_n = 1 are the distinct weights below 1 followed by
    1, u_0 = 0, and A_k is the prompt with the tokens of weight ≤ u_k hidden. Tokens outside `is_text` keep
    the weight 1.
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
    """Compute the blend of `down_weight`, plus (w − 1)·(b − b without the segment) on segments with w > 1.

    From ADV_CLIP_emb; `segments` as in `compel`.
    """
    b, w = _operands(prompt_embeds, weights)
    weighted = _blend_of_hidden(b, w[..., 0], encode)
    for hidden, weight in select_segments(w[..., 0] > 1, w[..., 0], segments):
        change = (weight - 1)[..., None, None] * (b - encode(hidden).to(b))
        weighted = weighted + torch.where(hidden[..., None], change, 0.0)
    return weighted.to(prompt_embeds.dtype)


def presence(
    prompt_embeds: Tensor,
    weights: Tensor,
    empty_embeds: Tensor | None = None,
    *,
    encode: Encode,
) -> Tensor:
    """Interpolate between the prompt and the prompt without the phrase, A.

    A is the encoding of the prompt from which the tokens of the phrase are removed, so at w = 0 no token, not
    even those of padding and end of text, holds anything of the phrase. The rows are interpolated as

        |A|^(1 − w)·|b|^w · ((1 − w)·A/|A| + w·b/|b|),

    which is A + w·(b − A) where both have one norm. Text encoders without a last normalization have rows of
    padding and end of text that are many times as long as those of words; without the norms, every w below 1
    would be almost A in a model that normalizes its text. Several phrases are removed one level of weights
    after the other, as `down_weight` hides them: one more encoding for each distinct weight below 1, and at
    w = 0 all are absent together. Negative weights extrapolate, w/(1 − w) times as far from A, and the norm
    stays between those of A and b. A weight above 1 multiplies the rows of its own tokens, as `scale` does.

    Source: this project; the kin of leave-one-out interpolation, compel's and ADV_CLIP_emb's down-weighting.
    """
    b, w = _operands(prompt_embeds, weights)
    below = w[..., 0].clamp(max=1)
    bounded = torch.where(below < 0, below / (1 - below), below)
    levels = list(_hidden_levels(b, bounded, encode))
    shares = torch.stack([share for share, _ in levels])
    encoded = torch.stack([rows for _, rows in levels])
    norms = encoded.norm(dim=-1, keepdim=True)
    linear = (shares * encoded).sum(0)
    directions = (shares * encoded / norms.clamp(min=torch.finfo(b.dtype).tiny)).sum(0)
    length = (shares * norms.clamp(min=torch.finfo(b.dtype).tiny).log()).sum(0).exp()
    length = torch.minimum(torch.maximum(length, norms.amin(0)), norms.amax(0))
    # Rows that are the same at all levels, and those of a single level, stay so bit for bit; rows of zeros
    # have no direction.
    is_same = (encoded == encoded[0]).all(0).all(-1, keepdim=True)
    is_linear = (shares == 1).any(0) | (norms == 0).any(0)
    blend = torch.where(is_same, encoded[0], torch.where(is_linear, linear, length * directions))
    return (blend * w.clamp(min=1)).to(prompt_embeds.dtype)


@dataclass(frozen=True, slots=True)
class Method:
    """A weighting method of embeddings.

    Attributes:
        name: its name in `METHODS`.
        description: one sentence for users.
        function: the formula, one of the functions above.
        hides: the way in which tokens are hidden from the encoder, as `Hiding` says.
        weights_pooled: whether the pooled vector follows the weights, too.
    """

    name: str
    description: str
    function: Callable[..., Tensor]
    hides: Hiding = ""
    weights_pooled: bool = False

    def __call__(
        self, prompt_embeds: Tensor, weights: Tensor, empty_embeds: Tensor, **context: Any
    ) -> Tensor:
        """Apply the method; keywords in `context` that its function does not take are ignored."""
        known = inspect.signature(self.function).parameters
        used = {name: value for name, value in context.items() if name in known}
        return self.function(prompt_embeds, weights, empty_embeds, **used)


_FUNCTIONS: dict[str, tuple[Callable[..., Tensor], Hiding]] = {
    "none": (none, ""),
    "scale": (scale, ""),
    "a1111": (a1111, ""),
    "scale-rms": (scale_rms, ""),
    "comfy": (comfy, ""),
    "compel": (compel, "attention"),
    "down_weight": (down_weight, "token"),
    "comfy++": (comfy_plus_plus, "token"),
    "presence": (presence, "removal"),
    "perp": (perp, ""),
}

METHODS: dict[str, Method] = {
    name: Method(name, description, *_FUNCTIONS[name], weights_pooled=name == "presence")
    for name, description in METHOD_DESCRIPTIONS.items()
}
"""The methods by name."""


def get_method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        SettingError: `METHODS` has no such name.
    """
    check_choice("method", name, tuple(METHODS))
    return METHODS[name]


def _operands(prompt_embeds: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return b in the dtype of the computation, and w as (…, tokens, 1) in the same dtype."""
    if weights.shape not in (prompt_embeds.shape[-2:-1], prompt_embeds.shape[:-1]):
        raise SettingError(
            message("weights-shape", shape=tuple(prompt_embeds.shape), weights=tuple(weights.shape))
        )
    b = prompt_embeds.to(torch.promote_types(prompt_embeds.dtype, torch.float32))
    return b, weights.to(b).expand(b.shape[:-1])[..., None]


def _empty_like(empty_embeds: Tensor, b: Tensor) -> Tensor:
    """Return e in the dtype of b, repeated for each chunk where it is the empty prompt of one chunk."""
    rows, tokens = empty_embeds.shape[-2], b.shape[-2]
    if tokens % rows:
        raise SettingError(message("empty-embeds-rows", rows=rows, tokens=tokens))
    return empty_embeds.to(b).repeat(*[1] * (empty_embeds.ndim - 2), tokens // rows, 1)


def _from_empty(b: Tensor, w: Tensor, e: Tensor) -> Tensor:
    """Compute e + (b − e)·w, with b itself where w = 1."""
    return torch.where(w == 1, b, e + (b - e) * w)


def _blend_of_hidden(b: Tensor, weights: Tensor, encode: Encode) -> Tensor:
    """Compute Σ (u_k − u_(k−1))·A_(k−1) over the levels u of the weights up to 1 (see `down_weight`)."""
    blend = torch.zeros_like(b)
    for share, encoded in _hidden_levels(b, weights, encode):
        blend = blend + share * encoded
    return blend


def _hidden_levels(b: Tensor, weights: Tensor, encode: Encode) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield u_k − u_(k−1), (…, 1, 1), and A_(k−1) for the levels u of the weights up to 1."""
    tokens = weights.shape[-1]
    levels = [[0.0, *row[row < 1].unique().tolist(), 1.0] for row in weights.reshape(-1, tokens)]
    for k in range(max(len(row) for row in levels) - 1):
        steps = [row[k + 1] - row[k] if k + 1 < len(row) else 0.0 for row in levels]
        hidden_up_to = [row[k] if 0 < k < len(row) - 1 else -math.inf for row in levels]
        share, level = (weights.new_tensor(x).reshape(weights.shape[:-1]) for x in (steps, hidden_up_to))
        encoded = b if k == 0 else encode(weights <= level[..., None]).to(b)
        yield share[..., None, None], encoded
