"""Checks of the weights in a model folder: every tensor is in the files, with numbers of a usable type."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.errors import ModelError
from promptweight.messages import message

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

INTEGERS = ("I8", "U8")
"""Types of quantized weights in safetensors files, which need the settings of their library."""


def load_text_models(
    folder: Path, index: Mapping[str, Any], name: str, dtype: torch.dtype, variant: str | None
) -> dict[str, Any]:
    """Load the components of a folder that are models of transformers.

    transformers fills missing tensors with random numbers, which a pipeline that loads them does not report.

    Args:
        folder: folder of the pipeline.
        index: content of its `model_index.json`.
        name: name of the model in errors.
        dtype: type of the weights.
        variant: variant of the files, such as "fp16", for components that have it.

    Raises:
        ModelError: tensors are missing, or their numbers are integers.
    """
    import transformers

    loaded = {}
    for part, value in index.items():
        library, kind = value if isinstance(value, list) and len(value) == 2 else (None, None)
        model = getattr(transformers, str(kind), None) if library == "transformers" else None
        is_model = isinstance(model, type) and issubclass(model, transformers.PreTrainedModel)
        if not is_model or model is None or not (folder / part).is_dir():
            continue
        has_variant = variant is not None and any((folder / part).glob(f"*.{variant}*.safetensors*"))
        loaded[part], report = model.from_pretrained(
            folder / part,
            dtype=dtype,
            variant=variant if has_variant else None,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        if missing := sorted(report["missing_keys"]):
            total = sum(1 for _ in loaded[part].named_parameters())
            raise _missing(name, part, missing, total)
    return loaded


def check_complete(pipe: DiffusionPipeline, name: str) -> None:
    """Check that every tensor of the networks of diffusers was in the files.

    Raises:
        ModelError: tensors are missing.
    """
    import torch

    for part, network in pipe.components.items():
        if isinstance(network, torch.nn.Module):
            parameters = dict(network.named_parameters())
            missing = [key for key, tensor in parameters.items() if tensor.is_meta]
            if missing:
                raise _missing(name, part, missing, len(parameters))


def check_number_types(folder: Path, name: str) -> None:
    """Check that no weights of a folder are integers without the settings of a quantization library.

    Raises:
        ModelError: they are.
    """
    for file in sorted(path for path in folder.glob("*/*.safetensors") if path.is_file()):
        config = file.parent / "config.json"
        if config.is_file() and "quantization_config" in config.read_text(encoding="utf-8", errors="replace"):
            continue
        for tensor, kind in _tensor_types(file):
            if kind in INTEGERS:
                raise ModelError(
                    message("weights-integer", name=name, part=file.parent.name, tensor=tensor, kind=kind)
                )


def _tensor_types(file: Path) -> Iterator[tuple[str, str]]:
    """Yield name and type of the tensors in the header of a safetensors file; none if it is damaged."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > min(file.stat().st_size, 100_000_000):
            return
        try:
            header = json.loads(stream.read(size))
        except (ValueError, RecursionError):
            return
    if isinstance(header, dict):
        for tensor, about in header.items():
            if isinstance(about, dict) and "dtype" in about:
                yield tensor, str(about["dtype"])


def _missing(name: str, part: str, missing: list[str], total: int) -> ModelError:
    return ModelError(
        message("weights-missing", name=name, part=part, number=len(missing), total=total, example=missing[0])
    )
