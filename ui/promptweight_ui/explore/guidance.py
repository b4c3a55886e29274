"""Guidance of one step for the Explore tab: the images that the model predicts without and with the prompt.

A model that predicts noise, velocity or the image itself determines the finished image x of its latents by a
formula that is linear in the prediction. So guidance, u + g·(c − u) of two predictions, is the same
u + g·(c − u) of the two images in latent space.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight_ui.components.live_preview import LivePreview

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from promptweight.attention import AttentionSession
    from promptweight.protocols import Pipeline

MAX_SCALE = 15.0
"""Largest guidance scale that the page can ask for."""

MIN_SIGNAL = 1e-3
"""Share of the image in the latents below which no image is determined."""


@dataclass(frozen=True)
class GuidedStep:
    """Latents of the image that the model predicts at a step.

    Attributes:
        unconditional: without the prompt, with the negative prompt: (channels, height, width) float32.
        conditional: with the prompt.
    """

    unconditional: Tensor
    conditional: Tensor

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return self.unconditional.nbytes + self.conditional.nbytes

    def latents(self, scale: float) -> Tensor:
        """Return u + g·(c − u) for a guidance scale g."""
        return self.unconditional + scale * (self.conditional - self.unconditional)


@contextmanager
def record_guidance(
    pipe: Pipeline, session: AttentionSession, steps: Collection[int]
) -> Iterator[dict[int, GuidedStep]]:
    """Record the predictions of an entered session's model at some steps.

    Nothing is recorded where the model is not called with both prompts at once, and for samplers that call
    it twice in a step.
    """
    recorded: dict[int, GuidedStep] = {}
    layout, preview = session.config.layout, LivePreview(pipe)

    def keep(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        from torch import Tensor

        step = session.controller.counter.current
        hook = next(iter(session.installation.hooks.values()), None)
        rows = None if hook is None else hook.call.recorded_rows
        if rows is None or step not in steps or step in recorded:
            return
        position, name = layout.kind.latents
        latents = args[position] if len(args) > position else kwargs.get(name)
        prediction = output[0] if isinstance(output, tuple) else getattr(output, "sample", None)
        factors = prediction_factors(pipe.scheduler, preview.noise_level(step))
        if not isinstance(latents, Tensor) or not isinstance(prediction, Tensor) or factors is None:
            return
        if prediction.ndim != 4 or len(prediction) != 2 or len(latents) != 2:
            return
        images = factors[0] * latents + factors[1] * prediction[:, : latents.shape[1]]
        row = int(rows[0])
        unconditional, conditional = (images[each].detach().float().cpu() for each in (1 - row, row))
        recorded[step] = GuidedStep(unconditional, conditional)

    hook = layout.model.register_forward_hook(keep, with_kwargs=True)
    try:
        yield recorded
    finally:
        hook.remove()


def prediction_factors(scheduler: Any, level: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return A and B of the predicted image A·latents + B·prediction; None if they are not known.

    Args:
        scheduler: the scheduler of the run.
        level: the factors of image and noise at the step, as in `LivePreview.noise_level`.
    """
    if level is None or getattr(scheduler, "order", 1) != 1:
        return None
    signal, noise = level
    kind = scheduler.config.get("prediction_type", "epsilon")
    if "FlowMatch" in type(scheduler).__name__ or kind == "flow_prediction":
        return 1.0, -noise
    # Models take latents of variance 1, in which the squares of both factors add up to 1.
    length = math.hypot(signal, noise)
    signal, noise = signal / length, noise / length
    if kind == "epsilon":
        return (1 / signal, -noise / signal) if signal >= MIN_SIGNAL else None
    return {"v_prediction": (signal, -noise), "sample": (0.0, 1.0)}.get(kind)


def predicted_image(
    pipe: Pipeline, step: GuidedStep, scale: float, size: tuple[int, int]
) -> Image.Image | None:
    """Return the image that the model predicts at a step with a guidance scale.

    Args:
        pipe: the pipeline.
        step: the step.
        scale: the guidance scale; 0 is the prediction without the prompt, 1 that with the prompt alone.
        size: height and width of the image in pixels.
    """
    vae: Any = pipe.vae
    return LivePreview(pipe, size).decode(step.latents(scale)[None].to(vae.device))
