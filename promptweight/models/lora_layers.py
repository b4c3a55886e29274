"""LoRAs, DoRAs, LoHas and LoKrs on a pipeline: loading through diffusers and peft, and weights by step."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.conditioning import find_family_by_names
from promptweight.errors import ModelError
from promptweight.messages import Message, message
from promptweight.models.files import summarize_error
from promptweight.models.lora_files import LoraFile, LoraLayer, read_lora_file, read_lora_layers
from promptweight.prompt import LoraCurve, format_tag_weights, lora_weight_at

if TYPE_CHECKING:
    from torch import Tensor, nn

    from promptweight.protocols import Pipeline

_LYCORIS = {"LoHa": "hada", "LoKr": "lokr"}
_KINDS = ("LoRA", "DoRA", *_LYCORIS)


@dataclass(frozen=True)
class Lora:
    """A LoRA file and its weights.

    Attributes:
        path: the file.
        weight: the constant part of its weight in the denoiser.
        text_encoder_weight: its weight in the text encoders; None if it is `weight`.
        curves: weights in the denoiser by step, which are added to `weight`.
    """

    path: Path
    weight: float
    text_encoder_weight: float | None = None
    curves: tuple[LoraCurve, ...] = ()

    @property
    def encoder_weight(self) -> float:
        """Weight in the text encoders."""
        return self.weight if self.text_encoder_weight is None else self.text_encoder_weight

    def weight_at(self, step: int, steps: int) -> float:
        """Return the weight in the denoiser at step `step`, from 0, of a run of `steps`."""
        return self.weight + sum(lora_weight_at(curve, step, steps) for curve in self.curves)

    def describe(self) -> float | str:
        """Return the weight, or the values of a tag where there are several; `+` adds weights by step."""
        if not self.curves and self.text_encoder_weight is None:
            return self.weight
        if len(self.curves) == 1 and not self.weight:
            (curve,), first = self.curves, self.curves[0][0][1]
            encoder = None if self.encoder_weight == first else self.encoder_weight
            return format_tag_weights(first, encoder, curve)
        constant = format_tag_weights(self.weight, self.text_encoder_weight)
        curves = [format_tag_weights(0, None, curve) for curve in self.curves]
        return "+".join([constant, *curves])


class LoraSet:
    """LoRAs on a pipeline, each with its weights.

    Args:
        pipe: the pipeline, with the LoRAs.
        loras: the LoRAs by the names of their adapters.
        warnings: messages about what of a file is not in the model.
    """

    def __init__(self, pipe: Pipeline, loras: Mapping[str, Lora], warnings: Sequence[Message] = ()) -> None:
        self.warnings = tuple(warnings)
        self._pipe, self._loras = pipe, loras
        self._doras = {name: _find_doras(pipe, name) for name in loras}
        self._current: dict[str, dict[str, float]] = {}
        self.set_step(0, 1)

    def set_step(self, step: int, steps: int) -> None:
        """Set the weights of step `step`, from 0, of a run of `steps`."""
        denoiser = {name: lora.weight_at(step, steps) for name, lora in self._loras.items()}
        encoder = {name: lora.encoder_weight for name, lora in self._loras.items()}
        for component in self._pipe.get_list_adapters() if self._loras else ():
            weights = encoder if component.startswith("text_encoder") else denoiser
            if self._current.get(component) != weights:
                self._set_weights(getattr(self._pipe, component), component, weights)
                self._current[component] = dict(weights)

    def _set_weights(self, model: nn.Module, component: str, weights: Mapping[str, float]) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        # A weight of 0 must not run: a DoRA would still change the length of the base weights.
        active = [name for name, weight in weights.items() if weight]
        for name in active:
            for dora in self._doras[name].get(component, ()):
                dora.set_weight(weights[name])
        layers: list[Any] = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        for layer in layers:
            layer.set_adapter(active)
            for name in active:
                layer.set_scale(name, 1.0 if self._doras[name].get(component) else weights[name])


class _DoraLayer:
    """A layer of a DoRA, whose effect a weight scales linearly, as in AUTOMATIC1111 and ComfyUI.

    With base weights W, V = W + B A and the magnitudes m, the layer has g V, where g = m / |V| in each row.
    At weight w it must have W + w (g V - W) = c (W + (w g / c) B A) with c = 1 - w + w g, which is again a
    DoRA: of the up matrix (w g / c) B and the magnitudes c |W + (w g / c) B A|.
    """

    def __init__(self, layer: Any, name: str) -> None:
        self._layer, self._name = layer, name
        self._up = layer.lora_B[name].weight.detach().clone()
        self._magnitude = layer.lora_magnitude_vector[name].weight.detach().clone()

    def set_weight(self, weight: float) -> None:
        """Scale the effect of the layer."""
        layer, name = self._layer, self._name
        base = layer.get_base_layer().weight.detach().float().flatten(1)
        down = layer.lora_A[name].weight.detach().float().flatten(1)
        up = self._up.float().flatten(1)
        gain = self._magnitude.float().flatten() / (base + up @ down).norm(dim=1)
        factor = 1 - weight + weight * gain
        factor = factor.where(factor.abs() > 1e-6, factor.new_tensor(1e-6))
        scaled = (weight * gain / factor)[:, None] * up
        magnitude = factor * (base + scaled @ down).norm(dim=1)
        layer.lora_B[name].weight.data.copy_(scaled.reshape(self._up.shape))
        layer.lora_magnitude_vector[name].weight.data.copy_(magnitude.reshape(self._magnitude.shape))


def load_loras(pipe: Pipeline, loras: Mapping[str, Lora]) -> LoraSet:
    """Load LoRAs into a pipeline without any, by the names of their adapters.

    Raises:
        ModelError: a file does not fit the model, or is of a kind that peft cannot load.
    """
    warnings: list[Message] = []
    files = {name: read_lora_file(lora.path) for name, lora in loras.items()}
    # peft applies a DoRA to the sum of the base weights and the adapters before it.
    order = sorted(files, key=lambda name: files[name].kind != "DoRA")
    for name in order:
        _load_lora(pipe, files[name], name, warnings)
    return LoraSet(pipe, {name: loras[name] for name in order}, warnings)


def _load_lora(pipe: Pipeline, file: LoraFile, name: str, warnings: list[Message]) -> None:
    path, pipeline = file.path, type(pipe).__name__
    family = find_family_by_names([base.__name__ for base in type(pipe).__mro__])
    if file.family is not None and family is not None and file.family != family.name:
        raise ModelError(
            message("lora-family", path=path, kind=file.kind, family=file.family, pipeline=pipeline)
        )
    layers: list[LoraLayer] = []
    try:
        layers = read_lora_layers(pipe, path) if file.kind in _KINDS else []
        _check_shapes(pipe, file, layers)
        if (file.kind != "LoRA" and layers) or _has_plain_names(file, layers):
            _add_layers(pipe, file, layers, name)
        else:
            pipe.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True
            )
    except ModelError:
        raise
    except Exception as error:  # the error depends on the content of the file
        if file.kind not in _KINDS or (file.layers and not layers):
            raise _unknown_file(file, pipeline) from error
        reason = summarize_error(error)
        raise ModelError(
            message("adapter-load-failed", path=path, pipeline=pipeline, reason=reason)
        ) from error
    loaded = sum(_count_layers(getattr(pipe, component), name) for component in pipe.get_list_adapters())
    if not loaded:
        raise _unknown_file(file, pipeline)
    if loaded < len(file.layers):
        number = len(file.layers) - loaded
        warnings.append(
            message("lora-layers-unused", path=path, number=number, total=len(file.layers), pipeline=pipeline)
        )


def _unknown_file(file: LoraFile, pipeline: str) -> ModelError:
    """Return the error of a file without layers that can be loaded."""
    if file.kind not in _KINDS:
        return ModelError(message("lora-kind", path=file.path, kind=file.kind, kinds=", ".join(_KINDS)))
    return ModelError(message("lora-without-weights", path=file.path, pipeline=pipeline))


def _count_layers(model: nn.Module, name: str) -> int:
    """Return the number of layers of a model that an adapter changes."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return sum(
        any(name in getattr(module, part, ()) for part in module.adapter_layer_names)
        for module in model.modules()
        if isinstance(module, BaseTunerLayer)
    )


def _check_shapes(pipe: Pipeline, file: LoraFile, layers: Sequence[LoraLayer]) -> None:
    """Raise `ModelError` where a layer of the file is of another width than that of the model."""
    for layer in layers:
        weight = getattr(pipe, layer.component).get_submodule(layer.module).weight
        if not _is_whole(layer.tensors, (weight.shape[0], weight[0].numel())):
            shapes = ", ".join(f"{part} {tuple(tensor.shape)}" for part, tensor in layer.tensors.items())
            raise ModelError(message("lora-tensors", path=file.path, layer=layer.module, shapes=shapes))
        shape = _changed_shape(layer.tensors)
        if shape is not None and shape != (weight.shape[0], weight[0].numel()):
            raise ModelError(
                message(
                    "lora-shape",
                    path=file.path,
                    kind=file.kind,
                    pipeline=type(pipe).__name__,
                    layer=f"{layer.component}.{layer.module}",
                    expected=" × ".join(map(str, (weight.shape[0], weight[0].numel()))),
                    found=" × ".join(map(str, shape)),
                )
            )
        magnitude = layer.tensors.get("dora_scale")
        if magnitude is not None and magnitude.shape[0] != weight.shape[0]:
            raise ModelError(message("lora-dora-inputs", path=file.path))


def _changed_shape(tensors: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Return the rows and columns of the weights that a layer changes; None where they depend on more."""
    if {"up", "down"} <= tensors.keys() and "mid" not in tensors:
        return tensors["up"].shape[0], tensors["down"][0].numel()
    if {"hada_w1_a", "hada_w1_b"} <= tensors.keys() and "hada_t1" not in tensors:
        return tensors["hada_w1_a"].shape[0], tensors["hada_w1_b"].shape[1]
    return None


def _is_whole(tensors: Mapping[str, Tensor], shape: tuple[int, int]) -> bool:
    """Return whether the factors of a layer are all there and can be multiplied.

    Factors with a core (`mid`, `hada_t1`, `lokr_t2`) are left to peft. Only the factors of a LoKr,
    whose product is a Kronecker product, are compared with the shape of the layer's weights.
    """
    if any(0 in tensor.shape or tensor.ndim == 0 for tensor in tensors.values()):
        return False
    if tensors.keys() & {"mid", "hada_t1", "lokr_t2"}:
        return True
    pairs = [("up", "down"), ("hada_w1_a", "hada_w1_b"), ("hada_w2_a", "hada_w2_b")]
    pairs += [("lokr_w1_a", "lokr_w1_b"), ("lokr_w2_a", "lokr_w2_b")]
    for left, right in pairs:
        if (left in tensors) != (right in tensors):
            return False
        if left in tensors and tensors[left].shape[1:2] != tensors[right].shape[:1]:
            return False
    if ("hada_w1_a" in tensors) != ("hada_w2_a" in tensors):
        return False
    if any(part.startswith("lokr") for part in tensors):
        rows, columns = 1, 1
        for factor in ("lokr_w1", "lokr_w2"):
            outer, inner = (tensors.get(f"{factor}{part}", tensors.get(factor)) for part in ("_a", "_b"))
            if outer is None or inner is None:
                return False
            rows, columns = rows * outer.shape[0], columns * inner[0].numel()
        return (rows, columns) == shape
    return True


def _has_plain_names(file: LoraFile, layers: Sequence[LoraLayer]) -> bool:
    """Return True for a LoRA in kohya's format whose layers are all in the model.

    diffusers derives the names of layers from the text, and leaves out some of those that it derives wrongly.
    """
    return len(layers) == len(file.layers) and not any("." in name for name in file.layers)


def _find_doras(pipe: Pipeline, name: str) -> dict[str, list[_DoraLayer]]:
    """Return the layers of an adapter that are DoRAs, by component."""
    return {
        component: [
            _DoraLayer(module, name)
            for module in getattr(pipe, component).modules()
            if name in getattr(module, "lora_magnitude_vector", ())
        ]
        for component in pipe.get_list_adapters()
    }


def _add_layers(pipe: Pipeline, file: LoraFile, layers: Sequence[LoraLayer], name: str) -> None:
    """Put layers of peft into the models, with the tensors of the file."""
    from peft import LoHaConfig, LoKrConfig, LoraConfig, inject_adapter_in_model

    by_component: dict[str, list[LoraLayer]] = {}
    for layer in layers:
        by_component.setdefault(layer.component, []).append(layer)
    for component, parts in by_component.items():
        model = getattr(pipe, component)
        targets = "|".join(re.escape(layer.module) for layer in parts)
        if file.kind in _LYCORIS:
            make_config = LoHaConfig if file.kind == "LoHa" else LoKrConfig
            config: Any = make_config(r=1, alpha=1, target_modules=targets)
        else:
            config = LoraConfig(r=1, lora_alpha=1, target_modules=targets, use_dora=file.kind == "DoRA")
        inject_adapter_in_model(config, model, adapter_name=name)
        model._hf_peft_config_loaded = True
        for layer in parts:
            module = model.get_submodule(layer.module)
            if file.kind in _LYCORIS:
                _fill_lycoris(module, layer, name)
            else:
                _fill_lora(module, layer, name, is_dora=file.kind == "DoRA")
            module.train(model.training)


def _fill_lora(module: Any, layer: LoraLayer, name: str, *, is_dora: bool) -> None:
    """Give a layer of peft the matrices of a LoRA, with the scale in the up matrix.

    In a DoRA, layers without magnitudes get those of the changed weights, which have no effect.
    """
    base = module.get_base_layer().weight.detach()
    down, up = layer.tensors["down"], layer.tensors["up"].float() * layer.scale
    module.lora_A[name].weight = _parameter(down, base)
    module.lora_B[name].weight = _parameter(up, base)
    if is_dora:
        magnitude = layer.tensors.get("dora_scale")
        if magnitude is None:
            up, down = up.to(base.device).flatten(1), down.to(base.device).float().flatten(1)
            magnitude = (base.float().flatten(1) + up @ down).norm(dim=1)
        shape = module.lora_magnitude_vector[name].weight.shape
        module.lora_magnitude_vector[name].weight = _parameter(magnitude.reshape(shape), base)


def _fill_lycoris(module: Any, layer: LoraLayer, name: str) -> None:
    """Give a layer of peft the factors of a LoHa or LoKr, with the scale in one of them."""
    base = module.get_base_layer().weight
    for part in module.adapter_layer_names:
        if name in getattr(module, part):
            del getattr(module, part)[name]
    scaled = next(part for part in ("hada_w1_b", "lokr_w2", "lokr_w2_b") if part in layer.tensors)
    for part, tensor in layer.tensors.items():
        value = tensor.float() * layer.scale if part == scaled else tensor
        getattr(module, part)[name] = _parameter(value, base)


def _parameter(tensor: Tensor, like: Tensor) -> nn.Parameter:
    from torch import nn

    return nn.Parameter(tensor.to(like.device, like.dtype).contiguous(), requires_grad=False)
