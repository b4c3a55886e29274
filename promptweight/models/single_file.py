"""Pipelines from one file of weights, a common format of Stable Diffusion 1, 2 and XL.

diffusers reads the weights. The configuration of the model comes from the files of the original on the
Hugging Face Hub, a few hundred kilobytes that are fetched once into the local cache.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from promptweight.errors import ModelError
from promptweight.messages import message
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
"""Pipeline class for each kind of checkpoint, by diffusers' names of the kinds."""

_DENOISER = "model.diffusion_model.input_blocks.0.0.weight"
_DECODER = "first_stage_model.decoder.conv_in.weight"
_CONFIG_FILES = ["*.json", "*.txt", "**/*.json", "**/*.txt", "**/*.model"]


def build(path: Path, dtype: torch.dtype) -> DiffusionPipeline:
    """Build the pipeline whose weights are in `path`, a safetensors file with a valid header.

    Raises:
        ModelError: the file is not a checkpoint of a supported family, or the configuration files of the
            family are not in the local cache and cannot be downloaded.
    """
    import diffusers

    kind = _infer_kind(path)
    config = _fetch_config(kind, path)
    pipeline: Any = getattr(diffusers, PIPELINES[kind])
    try:
        return pipeline.from_single_file(
            str(path), config=str(config), torch_dtype=dtype, local_files_only=True
        )
    except Exception as error:  # the error depends on the content of the file
        raise ModelError(message("file-load-failed", path=path, reason=summarize_error(error))) from error


def _infer_kind(path: Path) -> str:
    """Infer the kind of checkpoint in `path`, one of `PIPELINES`."""
    from diffusers.loaders.single_file_utils import infer_diffusers_model_type
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names: list[str] = list(file.keys())
        shapes = {name: SimpleNamespace(shape=tuple(file.get_slice(name).get_shape())) for name in names}
    missing = [part for part in (_DENOISER, _DECODER) if part not in shapes]
    kind = "none" if missing else infer_diffusers_model_type(shapes)
    if kind not in PIPELINES:
        lacks = message("single-file-lacks", part=missing[0]) if missing else None
        reason = lacks or message("single-file-kind", kind=kind)
        raise ModelError(message("single-file-unsupported", path=path, reason=reason))
    return kind


def _fetch_config(kind: str, path: Path) -> Path:
    """Return the folder with the configuration files of this kind of checkpoint, fetched if needed."""
    from diffusers.loaders.single_file_utils import DIFFUSERS_DEFAULT_PIPELINE_PATHS
    from huggingface_hub import snapshot_download

    original = DIFFUSERS_DEFAULT_PIPELINE_PATHS[kind]["pretrained_model_name_or_path"]
    try:
        return Path(snapshot_download(original, allow_patterns=_CONFIG_FILES))
    except Exception as error:  # the hub client raises errors of many libraries
        raise ModelError(
            message("single-file-config", path=path, model=original, reason=summarize_error(error))
        ) from error
