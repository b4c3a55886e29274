from .denoise_step import WeightedDenoiseStep as WeightedDenoiseStep
from .text_encoder_steps import WeightedFluxTextEncoderStep as WeightedFluxTextEncoderStep
from .text_encoder_steps import (
    WeightedStableDiffusionXLTextEncoderStep as WeightedStableDiffusionXLTextEncoderStep,
)
from .weighted_blocks import weight_blocks as weight_blocks
