"""Blocks of diffusers' modular pipelines for weighted prompts.

    from diffusers import StableDiffusionXLAutoBlocks
    from promptweight.modular import weight_blocks

    blocks = weight_blocks(StableDiffusionXLAutoBlocks())
    pipe = blocks.init_pipeline("stabilityai/stable-diffusion-xl-base-1.0")
    pipe.load_components()
    state = pipe(prompt="a (red:1.4) cat", weighting="attention")
    state.get("attention_session").maps.word("cat").overlay(state.get("images")[0])

- `weighted_blocks`: replacement of the blocks of SDXL and FLUX.1;
- `text_encoder_steps`: the steps that encode the prompt;
- `denoise_step`: the step that weights and records attention.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
