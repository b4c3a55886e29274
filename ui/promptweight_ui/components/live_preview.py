"""Preview of an unfinished image, denoised from the latents of two steps.

The latents of an unfinished image are mostly noise. Two of them, one step apart, determine the image that the
model is approaching: both are a·x + s·n of the same image x and noise n, with a and s known from the schedule
(exactly for deterministic first-order samplers, approximately for the others).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from promptweight.generation import Progress
    from promptweight.protocols import Pipeline

MAX_CELLS = 32
"""Longer side of the latents that are decoded; larger ones are downsampled first, for speed."""

MIN_DETERMINANT = 1e-4
"""Determinant of the two equations below which their solution is too inaccurate."""


class LivePreview:
    """Previews of one pipeline's unfinished images, step after step.

    Args:
        pipe: the pipeline.
        size: height and width in pixels, for pipelines with packed latents; square when None.
    """

    def __init__(self, pipe: Pipeline, size: tuple[int, int] | None = None) -> None:
        self._pipe, self._size = pipe, size
        self._previous: tuple[int, int, Tensor] | None = None

    def __call__(self, progress: Progress) -> Image.Image | None:
        """Return the preview after this step; None if the pipeline does not pass its latents."""
        if progress.latents is None:
            return None
        latents = progress.latents.detach()
        previous, self._previous = self._previous, (progress.image_number, progress.step, latents.clone())
        if previous is None or previous[0] != progress.image_number or previous[1] >= progress.step:
            return self.decode(latents)
        return self.decode(self.denoise(previous[2], previous[1], latents, progress.step))

    def denoise(self, older: Tensor, older_step: int, newer: Tensor, step: int) -> Tensor:
        """Return x of older = a₁·x + s₁·n and newer = a₂·x + s₂·n; `newer` if that is not determined.

        Args:
            older: latents after `older_step` steps.
            older_step: number of steps.
            newer: latents after `step` steps, of the same shape.
            step: number of steps.
        """
        older_level, level = self.noise_level(older_step), self.noise_level(step)
        if older_level is None or level is None:
            return newer
        (signal_1, noise_1), (signal_2, noise_2) = older_level, level
        determinant = signal_2 * noise_1 - signal_1 * noise_2
        if abs(determinant) < MIN_DETERMINANT:
            return newer
        return (newer * noise_1 - older * noise_2) / determinant

    def noise_level(self, step: int) -> tuple[float, float] | None:
        """Return the factors a of the image and s of the noise after `step` steps; None if unknown."""
        scheduler = self._pipe.scheduler
        sigmas = getattr(scheduler, "sigmas", None)
        if sigmas is not None and len(sigmas) == len(scheduler.timesteps) + 1:
            sigma = float(sigmas[step])
            if "FlowMatch" in type(scheduler).__name__:
                return 1 - sigma, sigma
            if hasattr(scheduler, "_sigma_to_alpha_sigma_t"):
                signal, noise = scheduler._sigma_to_alpha_sigma_t(sigmas[step])
                return float(signal), float(noise)
            return 1.0, sigma
        alphas_cumprod = getattr(scheduler, "alphas_cumprod", None)
        if alphas_cumprod is None:
            return None
        if step < len(scheduler.timesteps):
            power = float(alphas_cumprod[int(scheduler.timesteps[step])])
        else:
            power = float(getattr(scheduler, "final_alpha_cumprod", 1.0))
        return power**0.5, max(0.0, 1 - power) ** 0.5

    def decode(self, latents: Tensor) -> Image.Image | None:
        """Return latents as an image; None for latents without rows and columns."""
        import torch
        import torch.nn.functional as F
        from PIL import Image

        pipe = self._pipe
        if latents.ndim == 3 and hasattr(pipe, "_unpack_latents"):
            side = round(latents.shape[1] ** 0.5) * 2 * pipe.vae_scale_factor
            latents = pipe._unpack_latents(latents, *(self._size or (side, side)), pipe.vae_scale_factor)
        if latents.ndim != 4:
            return None
        longer = max(latents.shape[-2:])
        if longer > MAX_CELLS:
            size = [max(1, round(side * MAX_CELLS / longer)) for side in latents.shape[-2:]]
            latents = F.interpolate(latents.float(), size, mode="bilinear", antialias=True)
        vae = pipe.vae
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        with torch.no_grad():
            pixels = vae.decode((latents / vae.config.scaling_factor + shift).to(vae.dtype)).sample[0]
        values = (pixels.float().clamp(-1, 1) + 1) * 127.5
        return Image.fromarray(values.nan_to_num().round().byte().permute(1, 2, 0).cpu().numpy())
