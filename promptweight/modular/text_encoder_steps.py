"""Text encoder steps of modular pipelines: weighted prompts to embeddings, and to a session on attention."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from diffusers import FluxPipeline, StableDiffusionXLPipeline
from diffusers.modular_pipelines.flux.encoders import FluxTextEncoderStep
from diffusers.modular_pipelines.modular_pipeline_utils import InputParam, OutputParam
from diffusers.modular_pipelines.stable_diffusion_xl.encoders import StableDiffusionXLTextEncoderStep

from promptweight.attention import attach
from promptweight.conditioning import encode_prompts, read_lora_scale
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt import as_prompt

SESSION = "attention_session"
"""Name in the pipeline's state of the session that `WeightedDenoiseStep` enters."""

_INPUTS = (
    InputParam("weighting", description="How weights act, as `promptweight.Weighting.of` takes it."),
    InputParam("dialect", type_hint=str, default="pw", description="The dialect of the prompts."),
)
_RECORD = InputParam(
    "record", default=True, description="Whether attention is recorded, or a `promptweight.Record`."
)
_SECOND_PROMPTS = ("prompt_2", "negative_prompt_2")


class _WeightedStep(ABC):
    """Inputs and call of the text encoder steps of all families.

    Args:
        in_session: whether weights may act in attention: the step makes a session, which a
            `WeightedDenoiseStep` of the same pipeline enters. Otherwise weightings in attention raise.
    """

    def __init__(self, in_session: bool = False) -> None:
        super().__init__()
        self.in_session = in_session

    @property
    def inputs(self) -> list[InputParam]:
        """Inputs of diffusers' step, and those of the weights."""
        own = [*_INPUTS, _RECORD] if self.in_session else _INPUTS
        return [*super().inputs, *own]  # type: ignore[misc]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        """Embeddings, and the session."""
        own = [OutputParam(SESSION, description="The session, with warnings and maps.")]
        return [*super().intermediate_outputs, *(own if self.in_session else [])]  # type: ignore[misc]

    @torch.no_grad()
    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        """Encode the prompts.

        Raises:
            SettingError: an input has an invalid value, or a prompt changes during the run.
        """
        block_state = self.get_block_state(state)  # type: ignore[attr-defined]
        for name in _SECOND_PROMPTS:
            if getattr(block_state, name, None) is not None:
                raise SettingError(message("modular-second-prompt", name=name))
        negative_prompt = getattr(block_state, "negative_prompt", None)
        for name, prompts in (("prompt", block_state.prompt), ("negative_prompt", negative_prompt)):
            _check_constant(name, prompts, block_state.dialect)
        options = {
            "weighting": block_state.weighting,
            "dialect": block_state.dialect,
            "clip_skip": getattr(block_state, "clip_skip", None),
            "max_sequence_length": getattr(block_state, "max_sequence_length", None),
            "lora_scale": read_lora_scale(vars(block_state)),
        }
        pipe = self.make_pipeline(components)
        pipe.guider = getattr(components, "guider", None)
        if self.in_session:
            session = attach(pipe, block_state.prompt, negative_prompt, record=block_state.record, **options)
            block_state.attention_session = session
            inputs = session.inputs
        else:
            inputs = encode_prompts(pipe, block_state.prompt, negative_prompt, **options).inputs
        for output in super().intermediate_outputs:  # type: ignore[misc]
            setattr(block_state, output.name, inputs[output.name])
        self.set_block_state(state, block_state)  # type: ignore[attr-defined]
        return components, state

    @abstractmethod
    def make_pipeline(self, components: Any) -> Any:
        """Return a pipeline of diffusers with the same models, in which sessions find layers and encoders."""


class WeightedStableDiffusionXLTextEncoderStep(_WeightedStep, StableDiffusionXLTextEncoderStep):
    """Text encoder step of SDXL for weighted prompts; `prompt_2` and `negative_prompt_2` must be None."""

    def make_pipeline(self, components: Any) -> Any:
        """Return an SDXL pipeline with the models of a modular pipeline."""
        return StableDiffusionXLPipeline(
            vae=getattr(components, "vae", None),
            text_encoder=components.text_encoder,
            text_encoder_2=components.text_encoder_2,
            tokenizer=components.tokenizer,
            tokenizer_2=components.tokenizer_2,
            unet=getattr(components, "unet", None),
            scheduler=getattr(components, "scheduler", None),
            force_zeros_for_empty_prompt=components.config.force_zeros_for_empty_prompt,
            add_watermarker=False,
        )


class WeightedFluxTextEncoderStep(_WeightedStep, FluxTextEncoderStep):
    """Text encoder step of FLUX.1 for weighted prompts; `prompt_2` must be None."""

    def make_pipeline(self, components: Any) -> Any:
        """Return a FLUX.1 pipeline with the models of a modular pipeline."""
        return FluxPipeline(
            scheduler=getattr(components, "scheduler", None),
            vae=getattr(components, "vae", None),
            text_encoder=components.text_encoder,
            tokenizer=components.tokenizer,
            text_encoder_2=components.text_encoder_2,
            tokenizer_2=components.tokenizer_2,
            transformer=getattr(components, "transformer", None),
        )


def _check_constant(name: str, prompts: Any, dialect: str) -> None:
    """Check that prompts have one text for all steps.

    Raises:
        SettingError: one changes during the run, or has parts that AND joins.
    """
    for text in prompts if isinstance(prompts, list | tuple) else [prompts]:
        if isinstance(text, str):
            prompt = as_prompt(text, dialect)
            if prompt.scheduled or (dialect != "compel" and len(prompt.parts) > 1):
                raise SettingError(message("prompt-scheduled", name=name, prompt=text))
