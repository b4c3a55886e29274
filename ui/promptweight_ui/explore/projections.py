"""Inputs and trained matrices of attention layers: q = x·Wq, k = x·Wk and v = x·Wv of a patch and a token."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight.attention import AttentionSession, LayerCapture

MAX_WEIGHT_BYTES = 2**26
"""Memory of the copied matrices; further layers are left out."""

MAX_INPUTS = 64
"""Numbers of an input that are drawn, the rows of a drawn matrix."""

MAX_OUTPUTS = 32
"""Numbers of a query, key or value that are drawn, the columns of a drawn matrix."""

TOLERANCE = 0.02
"""Difference between x·W and a recorded vector that rounding explains, as a part of its largest number."""


@dataclass(frozen=True)
class Projection:
    """Linear projection of a layer: x·W + b.

    Attributes:
        weight: (heads · dim, width).
        bias: (heads · dim,); None for none.
    """

    weight: Tensor
    bias: Tensor | None

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)

    def of_head(self, head: int, heads: int, dim: int) -> Projection:
        """Return the rows of one of `heads` heads; several of them may share the rows of a key or value."""
        shared = heads // max(1, len(self.weight) // dim)
        rows = slice(head // shared * dim, head // shared * dim + dim)
        return Projection(self.weight[rows].float(), None if self.bias is None else self.bias[rows].float())

    def __call__(self, states: Tensor) -> Tensor:
        """Return x·W + b of an input (width,)."""
        product = self.weight @ states
        return product if self.bias is None else product + self.bias


@dataclass(frozen=True)
class LayerProjections:
    """Projections of a layer, and whether it normalizes queries and keys afterwards."""

    query: Projection
    key: Projection
    value: Projection
    is_normalized: bool

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self.query.nbytes + self.key.nbytes + self.value.nbytes


@dataclass
class RecordedInputs:
    """Inputs of layers.

    Attributes:
        layers: the projections by the name of the layer.
        states: the input of the queries and that of the keys, both (tokens, width), by layer and step.
    """

    layers: dict[str, LayerProjections] = field(default_factory=dict)
    states: dict[tuple[str, int], tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        states = (tensor.nbytes for both in self.states.values() for tensor in both)
        return sum(states) + sum(each.nbytes for each in self.layers.values())


@contextmanager
def record_inputs(session: AttentionSession, steps: Collection[int]) -> Iterator[RecordedInputs]:
    """Record the inputs of an entered session's layers at some steps, for its first recorded row."""
    recorded, hooks, nbytes = RecordedInputs(), [], 0

    def keep(_: Any, args: tuple[Any, ...], *, name: str, inputs: dict[str, Tensor]) -> None:
        inputs[name] = args[0]

    def store(_: Any, __: Any, ___: Any, *, name: str, inputs: dict[str, Tensor]) -> None:
        step, hook = session.controller.counter.current, session.installation.hooks.get(name)
        rows = None if hook is None else hook.call.recorded_rows
        if rows is not None and step in steps and (name, step) not in recorded.states and len(inputs) == 2:
            row = int(rows[0])
            image, text = (inputs[side][row].detach().to("cpu", copy=True) for side in ("image", "text"))
            recorded.states[name, step] = image, text
        inputs.clear()

    for name, (layer, module) in session.config.layout.layers.items():
        linear = _linear_modules(module, is_joint=layer.order != "cross")
        if linear is None:
            continue
        size = sum(each.weight.nbytes for each in linear)
        if nbytes + size > MAX_WEIGHT_BYTES:
            continue
        nbytes += size
        is_normalized = getattr(module, "norm_q", None) is not None
        query, key, value = map(_copy, linear)
        recorded.layers[name] = LayerProjections(query, key, value, is_normalized)
        inputs: dict[str, Tensor] = {}
        hooks += [
            linear[0].register_forward_pre_hook(partial(keep, name="image", inputs=inputs)),
            linear[1].register_forward_pre_hook(partial(keep, name="text", inputs=inputs)),
            module.register_forward_hook(partial(store, name=name, inputs=inputs)),
        ]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()


def _linear_modules(module: Any, *, is_joint: bool) -> list[Any] | None:
    """Return the modules that make the image's queries and the text's keys and values.

    Joint layers may have separate ones for the text. The result is None for fused and adapted modules, in
    which the matrix is not the module's weight.
    """
    from torch.nn import Linear

    has_own = is_joint and getattr(module, "add_k_proj", None) is not None
    names = ("to_q", "add_k_proj", "add_v_proj") if has_own else ("to_q", "to_k", "to_v")
    modules = [getattr(module, name, None) for name in names]
    return modules if all(type(each) is Linear for each in modules) else None


def _copy(module: Any) -> Projection:
    def copied(tensor: Tensor) -> Tensor:
        return tensor.detach().to("cpu", copy=True)

    return Projection(copied(module.weight), None if module.bias is None else copied(module.bias))


def projection_values(
    recorded: RecordedInputs, place: tuple[str, int], layer: LayerCapture, head: int, patch: int, key: int
) -> dict[str, Any] | None:
    """Return x, W and x·W of the query of a patch, and of the key and the value of a token.

    Args:
        recorded: the inputs.
        place: the name of the layer, and the step.
        layer: what was captured there.
        head: the index of the head.
        patch: the index of the patch.
        key: the index of the token among all keys of the layer.

    Returns:
        The values; None where they were not recorded, or where x·W is not what the layer works with.
    """
    projections, states = recorded.layers.get(place[0]), recorded.states.get(place)
    if projections is None or states is None:
        return None
    image, text = states
    keys, dim = layer.key.shape[1:]
    # The input of a layer is the image's or the text's alone, or both in the order of the keys.
    query_place = patch + (layer.image.start if len(image) == keys else 0)
    key_place = key - (layer.text.start if len(text) < keys else 0)
    sides = {
        "query": (projections.query, image[query_place], layer.query[head, patch]),
        "key": (projections.key, text[key_place], layer.key[head, key]),
        "value": (projections.value, text[key_place], layer.value[head, key]),
    }
    values: dict[str, Any] = {"normalized": False}
    for name, (projection, inputs, result) in sides.items():
        of_head = projection.of_head(head, layer.heads, dim)
        product = of_head(inputs.float())
        if not _is_close(product, result.float()):
            if name == "value" or not projections.is_normalized:
                return None
            values["normalized"] = True
        values[name] = {
            "input": _vector(inputs[:MAX_INPUTS]),
            "width": len(inputs),
            "matrix": _matrix(of_head.weight[:MAX_OUTPUTS, :MAX_INPUTS].T),
            "product": _vector(product[:MAX_OUTPUTS]),
            "biased": projection.bias is not None,
        }
    return values


def _is_close(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) <= TOLERANCE * max(1e-6, float(other.abs().max()))


def _matrix(values: Tensor) -> dict[str, Any]:
    """Return a matrix as bytes, row by row: 128 is 0, and 1 and 255 are the largest distance from it."""
    numbers = (values / values.abs().max().clamp_min(1e-30) * 127 + 128).round().byte()
    rows, columns = values.shape
    text = b64encode(numbers.contiguous().numpy().tobytes()).decode("ascii")
    return {"values": text, "rows": rows, "columns": columns}


def _vector(values: Tensor) -> list[float]:
    return [float(f"{float(value):.4g}") for value in values]
