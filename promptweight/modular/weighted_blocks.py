"""Replacement of the blocks of a modular pipeline by those for weighted prompts."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from diffusers.modular_pipelines import (
    LoopSequentialPipelineBlocks,
    ModularPipelineBlocks,
    SequentialPipelineBlocks,
)
from diffusers.modular_pipelines.flux.encoders import FluxTextEncoderStep
from diffusers.modular_pipelines.stable_diffusion_xl.encoders import StableDiffusionXLTextEncoderStep

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.modular.denoise_step import WeightedDenoiseStep
from promptweight.modular.text_encoder_steps import (
    WeightedFluxTextEncoderStep,
    WeightedStableDiffusionXLTextEncoderStep,
)

_STEPS: dict[type, Any] = {
    StableDiffusionXLTextEncoderStep: WeightedStableDiffusionXLTextEncoderStep,
    FluxTextEncoderStep: WeightedFluxTextEncoderStep,
}


def weight_blocks(blocks: SequentialPipelineBlocks) -> SequentialPipelineBlocks:
    """Return blocks of SDXL or FLUX.1 whose pipeline takes weighted prompts.

    The text encoder step becomes a weighted one, and the denoising step one that weights and records
    attention. The pipeline has the additional inputs `weighting`, `dialect` and `record`, and the session
    `attention_session` in its state.

    Args:
        blocks: blocks of diffusers, such as `StableDiffusionXLAutoBlocks()`, `FluxAutoBlocks()` or a workflow
            of these. They are not changed.

    Raises:
        SettingError: they have no text encoder step of these models, or no denoising step.
    """
    weighted = deepcopy(blocks)
    is_encoded = is_denoised = False
    for name, block in list(weighted.sub_blocks.items()):
        if type(block) in _STEPS:
            weighted.sub_blocks[name] = _STEPS[type(block)](in_session=True)
            is_encoded = True
        elif _denoises(name, block):
            weighted.sub_blocks[name] = WeightedDenoiseStep(block)
            is_denoised = True
    if not is_encoded or not is_denoised:
        known = ", ".join(step.__name__ for step in _STEPS)
        raise SettingError(message("modular-blocks", known=known, names=", ".join(weighted.sub_blocks)))
    weighted.block_classes = [type(block) for block in weighted.sub_blocks.values()]
    weighted.block_names = list(weighted.sub_blocks)
    return weighted


def _denoises(name: str, block: ModularPipelineBlocks) -> bool:
    """Return True for the block with the loop over the steps."""
    return name == "denoise" or isinstance(block, LoopSequentialPipelineBlocks)
