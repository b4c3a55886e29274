"""Denoising step of modular pipelines in which weights act in attention, and attention is recorded."""

from __future__ import annotations

from typing import Any

from diffusers.modular_pipelines import ModularPipelineBlocks
from diffusers.modular_pipelines.modular_pipeline_utils import InputParam

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.modular.text_encoder_steps import SESSION


class WeightedDenoiseStep(ModularPipelineBlocks):
    """A denoising block that runs inside the session of a weighted text encoder step.

    Args:
        block: the block, with the loop over the steps, such as `StableDiffusionXLCoreDenoiseStep()`.
    """

    def __init__(self, block: ModularPipelineBlocks) -> None:
        super().__init__()
        self.block = block
        self.model_name = block.model_name

    @property
    def description(self) -> str:
        """Text about the block for diffusers' listing."""
        return f"{self.block.description}\nWeights of the prompt act in attention, which is recorded."

    @property
    def expected_components(self) -> list[Any]:
        """Models that the block needs."""
        return self.block.expected_components

    @property
    def expected_configs(self) -> list[Any]:
        """Settings that the block needs."""
        return self.block.expected_configs

    @property
    def inputs(self) -> list[InputParam]:
        """Inputs of the block, and the session."""
        return [*self.block.inputs, InputParam(SESSION, required=True, description="The session.")]

    @property
    def intermediate_outputs(self) -> list[Any]:
        """Outputs of the block."""
        return self.block.intermediate_outputs

    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        """Denoise; the end restores the layers' own processors.

        Raises:
            SettingError: no weighted text encoder step made a session.
        """
        session = state.get(SESSION)
        if session is None:
            raise SettingError(message("modular-session-missing"))
        with session:
            return self.block(components, state)
