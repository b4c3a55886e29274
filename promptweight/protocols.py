"""Protocols of the objects of diffusers and transformers that promptweight works with.

They name what is used of a pipeline, a denoiser and a tokenizer; a class of these libraries, or any other
with these members, fits. Members that only some classes have are read with `getattr` or `hasattr`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn


class Pipeline(Protocol):
    """A diffusers pipeline: models by name, a scheduler, and a call that makes images."""

    scheduler: Any
    config: Any
    vae: Any
    unet: Any
    transformer: Any
    tokenizer: Any
    tokenizer_max_length: int
    text_encoder: Any
    text_encoder_2: Any
    vae_scale_factor: int
    _interrupt: bool

    @property
    def components(self) -> Mapping[str, Any]:
        """The models and other parts, by name."""

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the models."""

    @property
    def device(self) -> torch.device:
        """Device of the models."""

    @property
    def _execution_device(self) -> torch.device: ...

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Move the models to a device or data type."""

    def enable_model_cpu_offload(self, *args: Any, **kwargs: Any) -> None:
        """Keep each model in main memory until it is called."""

    def load_lora_weights(self, *args: Any, **kwargs: Any) -> None:
        """Load a LoRA."""

    def get_list_adapters(self) -> Mapping[str, Any]:
        """Return the names of the loaded LoRAs, by model."""

    def set_adapters(self, *args: Any, **kwargs: Any) -> None:
        """Activate LoRAs with weights."""

    def unload_lora_weights(self) -> None:
        """Remove all LoRAs."""

    def load_textual_inversion(self, *args: Any, **kwargs: Any) -> None:
        """Load an embedding of a token."""

    def encode_prompt(self, *args: Any, **kwargs: Any) -> Any:
        """Return the embeddings of a prompt."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make images."""

    def set_progress_bar_config(self, **kwargs: Any) -> None:
        """Set the arguments of the progress bar of a call."""


class Denoiser(Protocol):
    """The model of a pipeline that predicts noise or velocity: a UNet or a transformer."""

    config: Any
    down_blocks: Any
    mid_block: Any
    up_blocks: Any
    transformer_blocks: Any

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Iterate over all modules with their names."""


class Tokenizer(Protocol):
    """A tokenizer of transformers."""

    model_max_length: int
    pad_token_id: Any
    bos_token_id: Any
    eos_token_id: Any
    unk_token_id: Any
    added_tokens_encoder: Mapping[str, int]

    def __call__(self, text: Any, **kwargs: Any) -> Any:
        """Return the token ids of a text."""

    def convert_ids_to_tokens(self, ids: Any, *args: Any) -> Any:
        """Return the tokens of ids."""
