"""Pipelines from one file of weights, as Stable Diffusion 1, 2 and XL are often shared.

diffusers reads the weights; how the model is built it learns from the files of the original on the Hugging
Face Hub, a few hundred kilobytes that are fetched once and stay in the local cache.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from promptweight.errors import ModelError
from promptweight.models.files import summarize_error

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

PIPELINES = {
    "v1": "StableDiffusionPipeline",
    "v2": "StableDiffusionPipeline",
    "xl_base": "StableDiffusionXLPipeline",
    "playground-v2-5": "StableDiffusionXLPipeline",
}
"""The pipeline for each kind of checkpoint, by diffusers' names of them."""

_DENOISER = "model.diffusion_model.input_blocks.0.0.weight"
_DECODER = "first_stage_model.decoder.conv_in.weight"
_CONFIG_FILES = ["*.json", "*.txt", "**/*.json", "**/*.txt", "**/*.model"]


def build(path: Path, dtype: torch.dtype) -> DiffusionPipeline:
    """Return the pipeline whose weights are in `path`, a safetensors file with a sound header.

    Raises:
        ModelError: the file is no checkpoint of a supported family, or the files that describe the family
            are neither in the local cache nor to be had.
    """
    import diffusers

    kind = _kind_of(path)
    config = _config_folder(kind, path)
    pipeline: Any = getattr(diffusers, PIPELINES[kind])
    try:
        return pipeline.from_single_file(
            str(path), config=str(config), torch_dtype=dtype, local_files_only=True
        )
    except Exception as error:  # the file's content decides which of many errors this is
        raise ModelError(f"{path} cannot be loaded: {summarize_error(error)}") from error


def _kind_of(path: Path) -> str:
    """Return diffusers' name for the kind of checkpoint in `path`, one of `PIPELINES`."""
    from diffusers.loaders.single_file_utils import infer_diffusers_model_type
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names: list[str] = list(file.keys())
        shapes = {name: SimpleNamespace(shape=tuple(file.get_slice(name).get_shape())) for name in names}
    lacks = [part for part in (_DENOISER, _DECODER) if part not in shapes]
    kind = "none" if lacks else infer_diffusers_model_type(shapes)
    if kind not in PIPELINES:
        found = f"it lacks {lacks[0]}" if lacks else f"diffusers takes it for {kind!r}"
        raise ModelError(
            f"{path} is a single file, but no whole text-to-image checkpoint of Stable Diffusion 1, 2 or XL "
            f"({found}); load other models from a folder or by their hub id"
        )
    return kind


def _config_folder(kind: str, path: Path) -> Path:
    """Return the folder with the files that describe how this kind of checkpoint is built."""
    from diffusers.loaders.single_file_utils import DIFFUSERS_DEFAULT_PIPELINE_PATHS
    from huggingface_hub import snapshot_download

    original = DIFFUSERS_DEFAULT_PIPELINE_PATHS[kind]["pretrained_model_name_or_path"]
    try:
        return Path(snapshot_download(original, allow_patterns=_CONFIG_FILES))
    except Exception as error:  # each layer under the hub client has errors of its own
        raise ModelError(
            f"{path} holds weights alone; how its model is built is told by {original!r}, whose small files "
            f"are not in the local cache and cannot be downloaded ({summarize_error(error)})"
        ) from error
