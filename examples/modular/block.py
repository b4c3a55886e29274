"""Blocks of a modular SDXL pipeline with weighted prompts, loaded by diffusers from a folder or the hub."""

from diffusers.modular_pipelines import SequentialPipelineBlocks, StableDiffusionXLAutoBlocks

from promptweight.modular import weight_blocks

_BLOCKS = weight_blocks(StableDiffusionXLAutoBlocks())


class WeightedStableDiffusionXLBlocks(SequentialPipelineBlocks):
    """SDXL with the inputs `weighting`, `dialect` and `record`, and `attention_session` in the state."""

    model_name = "stable-diffusion-xl"
    block_classes = tuple(_BLOCKS.sub_blocks.values())
    block_names = tuple(_BLOCKS.sub_blocks)
