"""The arithmetic of attention laid open: queries, keys and values of chosen steps, as the model has them.

    with attach(pipe, prompt, record=Record(patches=((0.5, 0.5),))) as session:
        with looking_inside(session, steps=[0, 12]) as inside:
            pipe(**session.inputs, num_inference_steps=25)
    row = inside.text["mid_block.attentions.0.transformer_blocks.0.attn2", 12].row(head=0, position=5)
    row.products / dim ** 0.5 + row.bias        # the logits; their softmax is row.probabilities

What is kept are the very tensors that go into the softmax of a layer, so every number on the way from q·k to
Σ p·v is the model's own, weights that act in attention included. It is meant for looking, not for recording a
run: one picture, a few steps, and as many layers as the memory allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.attention.hooks.layer_hook import LayerHook, pad_dim
from promptweight.attention.layers import Layer, grid_size
from promptweight.maps import PromptVariant

if TYPE_CHECKING:
    from promptweight.attention.session import AttentionSession


@dataclass(frozen=True)
class SoftmaxRow:
    """What one position of the picture does in one head: a row of the softmax, and all that leads to it."""

    query: Tensor
    """(dim,) float32."""
    keys: Tensor
    """(keys, dim) float32."""
    values: Tensor
    """(keys, dim) float32, as the model has them, before any weight."""
    products: Tensor
    """q·k of every key, (keys,)."""
    bias: Tensor
    """What is added to the logits, log w for words weighted in attention: (keys,)."""
    factors: Tensor
    """What the values are multiplied by, (keys,); 1 unless a word is weighted so."""
    probabilities: Tensor
    """softmax(q·k / √dim + bias), (keys,)."""

    @property
    def output(self) -> Tensor:
        """Σ p·f·v, what the position takes along: (dim,)."""
        return (self.probabilities * self.factors) @ self.values


@dataclass(frozen=True)
class LayerCapture:
    """One layer at one step, for one picture."""

    query: Tensor
    """(heads, positions of the picture, dim)."""
    key: Tensor
    """(heads, keys, dim): of the text, of the picture, or of both."""
    value: Tensor
    """(heads, keys, dim)."""
    bias: Tensor | None
    """Added to the logits: (1 or heads, 1 or positions, keys); None for nothing."""
    factors: Tensor | None
    """Multiplied with the values: (1 or positions, keys); None for nothing."""
    text: slice
    """Which keys are the text's."""
    image: slice
    """Which keys are the picture's."""

    @property
    def heads(self) -> int:
        """How many heads there are."""
        return self.query.shape[0]

    def row(self, head: int, position: int) -> SoftmaxRow:
        """Everything about one position of the picture in one head."""
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
        """How much every position reads of some keys together: (heads or 1, positions) float32, 0 to 1."""
        chosen = slice(None) if head is None else slice(head, head + 1)
        query, key = self.query[chosen].float(), self.key[chosen].float()
        logits = torch.matmul(query, key.transpose(-1, -2)).mul_(query.shape[-1] ** -0.5)
        if self.bias is not None:
            logits += self.bias[chosen if len(self.bias) > 1 else slice(None)].float()
        return logits.softmax(-1)[..., list(keys)].sum(-1)


@dataclass
class AttentionCapture:
    """What was kept of a run.

    Attributes:
        steps: the steps that were kept, from 0.
        layers: the layers that were kept, in the order in which they run.
        sizes: rows and columns of each layer's positions in the picture.
        text: the picture's attention to the text, by layer name and step; in joint attention, to both.
        image: the picture's attention to itself in the same layer, or in the one right before in a UNet.
        texts: the token tables of every text that the prompt says.
        said: which of `texts` was read at each step: of parts that AND joins, the first.
        left_out: the layers that there was no room for.
    """

    steps: tuple[int, ...]
    texts: tuple[PromptVariant, ...]
    said: Mapping[int, int]
    layers: tuple[Layer, ...] = ()
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    text: dict[tuple[str, int], LayerCapture] = field(default_factory=dict)
    image: dict[tuple[str, int], LayerCapture] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def tables(self, step: int) -> PromptVariant:
        """The token tables of the text that was read at one of `steps`."""
        return self.texts[self.said[step]]

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        seen = {id(each): each for each in (*self.text.values(), *self.image.values())}
        return sum(nbytes_of(each) for each in seen.values())


@contextmanager
def capture_attention(
    session: AttentionSession, steps: Sequence[int], max_mb: float = 256.0
) -> Iterator[AttentionCapture]:
    """Keep the attention of a session's first prompt at some steps, for its first picture.

    Args:
        session: a session that has been entered and records the positive prompt; with `Record.patches` or
            `Record.refine` the UNet's layers in which the picture attends to itself are kept, too.
        steps: the steps to keep, from 0.
        max_mb: the most memory, in MiB, that it may take; where all layers need more, every second, every
            fourth and so on is kept, the last always.
    """
    prepared, chosen = session._prepared, tuple(sorted(set(steps)))
    said = {step: prepared.composer.first_said(step) for step in chosen}
    inside = AttentionCapture(chosen, prepared.variants["positive"][0], said)
    keeper = _Keeper(session, inside, max_mb * 2**20)
    recorders = session._installation.recorders
    for name, recorder in recorders.items():
        recorder.attend = partial(keeper.attend, name, recorder, recorder.attend)  # type: ignore[method-assign]
    try:
        yield inside
    finally:
        for recorder in recorders.values():
            del recorder.attend
        keeper.finish()


class _Keeper:
    """Stands before the attention of every layer and copies what goes into it."""

    def __init__(self, session: AttentionSession, inside: AttentionCapture, most_bytes: float) -> None:
        self._session, self._inside, self._most = session, inside, most_bytes
        self._layers = [layer for layer, _ in session._prepared.layout.layers.values()]
        self._owner = {layer.self_attention: layer.name for layer in self._layers if layer.order == "cross"}
        self._order = {layer.name: number for number, layer in enumerate(reversed(self._layers))}
        self._every = 1

    def attend(
        self,
        name: str,
        recorder: LayerHook,
        usual: Callable[..., Tensor],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Tensor | None = None,
    ) -> Tensor:
        layer, rows = self._owner.get(name, name), recorder.call.rows
        step = self._session._director.run.current
        kept = self._inside.image if name in self._owner else self._inside.text
        is_wanted = step in self._inside.steps and self._order[layer] % self._every == 0
        if rows is not None and is_wanted and (layer, step) not in kept:
            self._keep(layer, name in self._owner, step, recorder, int(rows[0]), (query, key, value, mask))
        return usual(query, key, value, mask=mask)

    def _keep(
        self, layer: str, is_own: bool, step: int, recorder: LayerHook, row: int, tensors: tuple[Any, ...]
    ) -> None:
        query, key, value, mask = tensors
        queries = slice(0, query.shape[2]) if is_own else recorder.image_queries(query.shape[2])
        text, image = slice(0, 0), slice(0, key.shape[2])
        if not is_own:
            first = queries.stop if recorder.order == "image first" else 0
            text = slice(first, first + recorder.call.text_length)
            image = slice(0, 0) if recorder.order == "cross" else queries
        bias, factors = (None, None) if is_own else _terms(recorder, row, text, key.shape[2], len(query))
        if mask is not None:
            own = mask[row if len(mask) > 1 else 0].float().cpu()
            own = own[:, queries] if own.shape[1] > 1 else own
            bias = own if bias is None else bias + own
        reading = LayerCapture(
            _copied(query[row, :, queries]),
            _copied(key[row]),
            _copied(value[row]),
            bias,
            factors,
            text,
            image,
        )
        (self._inside.image if is_own else self._inside.text)[layer, step] = reading
        if image.stop > image.start and not is_own:
            self._inside.image[layer, step] = reading
        # As if every step took as much as the first.
        while self._expected() > self._most and self._every < len(self._layers):
            self._every *= 2
            for kept in (self._inside.text, self._inside.image):
                for place in [place for place in kept if self._order[place[0]] % self._every]:
                    del kept[place]

    def _expected(self) -> float:
        seen = {step for _, step in self._inside.text} | {step for _, step in self._inside.image}
        return self._inside.nbytes / len(seen) * len(self._inside.steps)

    def finish(self) -> None:
        inside, store = self._inside, self._session._prepared.store
        names = {name for name, _ in inside.text}
        inside.layers = tuple(layer for layer in self._layers if layer.name in names)
        inside.left_out = tuple(layer.name for layer in self._layers if layer.name not in names)
        inside.steps = tuple(sorted({step for _, step in inside.text}))
        if store is not None:
            inside.sizes = {layer.name: grid_size(*store.size, layer.stride) for layer in inside.layers}


def _terms(
    recorder: LayerHook, row: int, text: slice, keys: int, batch: int
) -> tuple[Tensor | None, Tensor | None]:
    """Return what the weights in attention do to one row of the batch, as `LayerCapture` has it."""
    terms, bias, factors = recorder.call.terms, None, None
    if terms.bias is not None:
        own = terms.bias.expand(batch, *terms.bias.shape[1:])[row].float().cpu()
        bias = pad_dim(own, 2, text.start, keys)
    if terms.factors is not None:
        own = terms.factors.expand(batch, *terms.factors.shape[1:])[row, 0, :, 0].float().cpu()
        factors = pad_dim(own[None], 1, text.start, keys, outside=1.0)
    if terms.local_columns is not None and terms.local_excess is not None:
        excess = terms.local_excess[row, 0].float().cpu()  # (positions, columns)
        local = torch.zeros(len(excess), keys)
        local.index_add_(1, terms.local_columns[row].cpu() + text.start, excess)
        factors = local + (1.0 if factors is None else factors)
    return bias, factors


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def nbytes_of(reading: LayerCapture) -> int:
    """The memory that a reading takes."""
    tensors = (reading.query, reading.key, reading.value, reading.bias, reading.factors)
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)
