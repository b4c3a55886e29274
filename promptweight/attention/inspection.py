"""Inspection of attention: queries, keys and values of chosen steps, as the model computes them.

    with attach(pipe, prompt, record=Record(patches=((0.5, 0.5),))) as session:
        with capture_attention(session, steps=[0, 12]) as capture:
            pipe(**session.inputs, num_inference_steps=25)
    row = capture.text["mid_block.attentions.0.transformer_blocks.0.attn2", 12].row(head=0, position=5)
    row.products / dim ** 0.5 + row.bias        # the logits; their softmax is row.probabilities

The captured tensors are the inputs of a layer's softmax, so every number from q·k to Σ p·v is the model's
own, weights in attention included. A capture is for one image, a few steps, and as many layers as fit into
the memory; `Record` records whole runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.attention.control.weighted_attention import pad_dim
from promptweight.attention.hooks.layer_hook import LayerHook
from promptweight.attention.kernels.sdpa import cast_bias, repeat_heads
from promptweight.attention.layers import Layer, grid_size
from promptweight.maps import PromptVariant

if TYPE_CHECKING:
    from promptweight.attention.session import AttentionSession


@dataclass(frozen=True)
class SoftmaxRow:
    """Row of the softmax of one image position in one head, with its inputs."""

    query: Tensor
    """(dim,) float32."""
    keys: Tensor
    """(keys, dim) float32."""
    values: Tensor
    """(keys, dim) float32, before any weight."""
    products: Tensor
    """q·k of every key, (keys,)."""
    bias: Tensor
    """Bias on the logits, log w for words weighted in attention: (keys,)."""
    factors: Tensor
    """Factors of the values, (keys,); 1 unless a weight acts on the value."""
    probabilities: Tensor
    """softmax(q·k / √dim + bias), (keys,)."""

    @property
    def output(self) -> Tensor:
        """Σ p·f·v, the attention output of the position: (dim,)."""
        return (self.probabilities * self.factors) @ self.values


@dataclass(frozen=True)
class LayerCapture:
    """Inputs of the softmax of one layer at one step, for one image."""

    query: Tensor
    """(heads, image positions, dim)."""
    key: Tensor
    """(heads, keys, dim): of the text, of the image, or of both."""
    value: Tensor
    """(heads, keys, dim)."""
    bias: Tensor | None
    """Bias on the logits: (1 or heads, 1 or positions, keys); None for none."""
    factors: Tensor | None
    """Factors of the values: (1 or positions, keys); None for none."""
    text: slice
    """Range of the text's keys."""
    image: slice
    """Range of the image's keys."""

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.query.shape[0]

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        tensors = (self.query, self.key, self.value, self.bias, self.factors)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def row(self, head: int, position: int) -> SoftmaxRow:
        """Return the softmax row of one image position in one head."""
        query, keys, values = (
            each.float() for each in (self.query[head, position], self.key[head], self.value[head])
        )
        products = keys @ query
        bias = torch.zeros_like(products)
        if self.bias is not None:
            heads, positions, _ = self.bias.shape
            bias = self.bias[head if heads > 1 else 0, position if positions > 1 else 0].float()
        factors = torch.ones_like(products)
        if self.factors is not None:
            factors = self.factors[position if len(self.factors) > 1 else 0]
        probabilities = (products * keys.shape[1] ** -0.5 + bias).softmax(0)
        return SoftmaxRow(query, keys, values, products, bias, factors, probabilities)

    def columns(self, keys: Sequence[int], head: int | None = None) -> Tensor:
        """Return the summed probability of some keys at every position: (heads or 1, positions), 0..1."""
        chosen = slice(None) if head is None else slice(head, head + 1)
        query, key = self.query[chosen].float(), self.key[chosen].float()
        logits = torch.matmul(query, key.transpose(-1, -2)).mul_(query.shape[-1] ** -0.5)
        if self.bias is not None:
            logits += self.bias[chosen if len(self.bias) > 1 else slice(None)].float()
        return logits.softmax(-1)[..., list(keys)].sum(-1)


@dataclass
class AttentionCapture:
    """Captured attention of a run.

    Attributes:
        steps: the captured steps, from 0.
        variants: the token tables of every variant of the prompt.
        variant_by_step: the index of the variant in use at each step; of parts that AND joins, the first.
        layers: the captured layers, in the order in which they run.
        sizes: rows and columns of each layer's grid of image positions.
        text: attention from the image to the text, by layer name and step; in joint attention, to both.
        image: self-attention of the image in the same layer, or, in a UNet, in the layer right before.
        omitted_layers: names of layers that the memory limit left out.
    """

    steps: tuple[int, ...]
    variants: tuple[PromptVariant, ...]
    variant_by_step: Mapping[int, int]
    layers: tuple[Layer, ...] = ()
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    text: dict[tuple[str, int], LayerCapture] = field(default_factory=dict)
    image: dict[tuple[str, int], LayerCapture] = field(default_factory=dict)
    omitted_layers: tuple[str, ...] = ()

    def variant_at(self, step: int) -> PromptVariant:
        """Return the token tables of the variant in use at one of `steps`."""
        return self.variants[self.variant_by_step[step]]

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        distinct = {id(each): each for each in (*self.text.values(), *self.image.values())}
        return sum(each.nbytes for each in distinct.values())


@contextmanager
def capture_attention(
    session: AttentionSession, steps: Sequence[int], max_mb: float = 256.0
) -> Iterator[AttentionCapture]:
    """Capture the attention of a session's first prompt at some steps, for its first image.

    Args:
        session: an entered session that records the positive prompt; with `Record.patches` or `Record.refine`
            the UNet's self-attention layers are captured too.
        steps: the steps, from 0.
        max_mb: maximum memory in MiB. Where all layers need more, only every second, every fourth and so on
            is captured, always including the last.

    Yields:
        The capture, complete at the end of the block.
    """
    config, chosen = session.config, tuple(sorted(set(steps)))
    variant_by_step = {step: config.composer.first_variant(step) for step in chosen}
    capture = AttentionCapture(chosen, config.variants["positive"][0], variant_by_step)
    recorder = _CaptureRecorder(session, capture, max_mb * 2**20)
    installation = session.installation
    installation.prepare_hook = recorder.wrap_hook
    for name, hook in installation.hooks.items():
        recorder.wrap_hook(name, hook)
    try:
        yield capture
    finally:
        installation.prepare_hook = None
        for hook in installation.hooks.values():
            vars(hook).pop("attend", None)  # hooks that an error left out of the layers were not wrapped
        recorder.finish()


class _CaptureRecorder:
    """Wrapper of every hook's attention that copies its inputs."""

    def __init__(self, session: AttentionSession, capture: AttentionCapture, max_bytes: float) -> None:
        self._session, self._capture, self._max_bytes = session, capture, max_bytes
        self._layers = [layer for layer, _ in session.config.layout.layers.values()]
        self._following = {
            layer.self_attention: layer.name for layer in self._layers if layer.order == "cross"
        }
        self._rank = {layer.name: number for number, layer in enumerate(reversed(self._layers))}
        self._interval = 1

    def wrap_hook(self, name: str, hook: LayerHook) -> None:
        """Copy the inputs of the attention of a layer's hook from now on."""
        hook.attend = partial(self.attend, name, hook, hook.attend)  # type: ignore[method-assign]

    def attend(
        self,
        name: str,
        hook: LayerHook,
        attend: Callable[..., Tensor],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Tensor | None = None,
    ) -> Tensor:
        layer, rows = self._following.get(name, name), hook.call.recorded_rows
        step = self._session.controller.counter.current
        is_self = name in self._following
        captures = self._capture.image if is_self else self._capture.text
        is_chosen = step in self._capture.steps and self._rank[layer] % self._interval == 0
        if rows is not None and is_chosen and (layer, step) not in captures:
            self._copy(layer, is_self, step, hook, int(rows[0]), (query, key, value, mask))
        return attend(query, key, value, mask=mask)

    def _copy(
        self, layer: str, is_self: bool, step: int, hook: LayerHook, row: int, tensors: tuple[Any, ...]
    ) -> None:
        query, key, value, mask = tensors
        if not is_self:
            query, key, value = hook.select_own(query, key, value)
        key, value, mask = repeat_heads(query, key), repeat_heads(query, value), cast_bias(mask, query)
        queries = slice(0, query.shape[2]) if is_self else hook.image_range(query.shape[2])
        text, image = slice(0, 0), slice(0, key.shape[2])
        if not is_self:
            text = hook.text_range(key.shape[2])
            image = slice(0, 0) if hook.order == "cross" else hook.image_range(key.shape[2])
        bias, factors = (None, None) if is_self else _copy_terms(hook, row, text, key.shape[2], len(query))
        if mask is not None:
            own = mask[row if len(mask) > 1 else 0].float().cpu()
            own = own[:, queries] if own.shape[1] > 1 else own
            bias = own if bias is None else bias + own
        copied = LayerCapture(
            _copy_to_cpu(query[row, :, queries]),
            _copy_to_cpu(key[row]),
            _copy_to_cpu(value[row]),
            bias,
            factors,
            text,
            image,
        )
        (self._capture.image if is_self else self._capture.text)[layer, step] = copied
        if image.stop > image.start and not is_self:
            self._capture.image[layer, step] = copied
        while self._expected_bytes() > self._max_bytes and self._interval < len(self._layers):
            self._interval *= 2
            for captures in (self._capture.text, self._capture.image):
                for captured in [each for each in captures if self._rank[each[0]] % self._interval]:
                    del captures[captured]

    def _expected_bytes(self) -> float:
        """Return the memory of the whole capture, if every step takes as much as those so far."""
        copied = {step for _, step in self._capture.text} | {step for _, step in self._capture.image}
        return self._capture.nbytes / len(copied) * len(self._capture.steps)

    def finish(self) -> None:
        capture, store = self._capture, self._session.config.store
        names = {name for name, _ in capture.text}
        capture.layers = tuple(layer for layer in self._layers if layer.name in names)
        capture.omitted_layers = tuple(layer.name for layer in self._layers if layer.name not in names)
        capture.steps = tuple(sorted({step for _, step in capture.text}))
        if store is not None:
            capture.sizes = {layer.name: grid_size(*store.size, layer.stride) for layer in capture.layers}


def _copy_terms(
    hook: LayerHook, row: int, text: slice, keys: int, batch: int
) -> tuple[Tensor | None, Tensor | None]:
    """Return the bias and factors of weights for one row of the batch, as in `LayerCapture`."""
    terms, bias, factors = hook.call.terms, None, None
    if terms.bias is not None:
        own = terms.bias.expand(batch, *terms.bias.shape[1:])[row].float().cpu()
        bias = pad_dim(own, 2, text.start, keys)
    if terms.factors is not None:
        own = terms.factors.expand(batch, *terms.factors.shape[1:])[row, 0, :, 0].float().cpu()
        factors = pad_dim(own[None], 1, text.start, keys, fill=1.0)
    if terms.local_columns is not None and terms.local_excess is not None:
        excess = terms.local_excess[row, 0].float().cpu()  # (positions, columns)
        local = torch.zeros(len(excess), keys, dtype=torch.float32)
        local.index_add_(1, terms.local_columns[row].cpu() + text.start, excess)
        factors = local + (1.0 if factors is None else factors)
    return bias, factors


def _copy_to_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
