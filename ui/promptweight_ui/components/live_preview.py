"""What a picture looks like while it is being made.

The latents of an unfinished picture are mostly noise. Two of them, one step apart, are enough to tell the
picture that the model is heading for: both are a·x + s·n of the same picture x and noise n, with a and s
known from the schedule (exactly for deterministic first-order samplers, closely for the others).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from promptweight.generation import Progress

MOST_CELLS = 32
"""The longer side of the latents that are decoded; larger ones are made smaller first, to be quick."""


class Preview:
    """The look of one pipeline's unfinished pictures, step after step.

    Args:
        pipe: the pipeline.
        size: height and width in pixels, for pipelines whose latents do not tell them; square if None.
    """

    def __init__(self, pipe: Any, size: tuple[int, int] | None = None) -> None:
        self._pipe, self._size = pipe, size
        self._before: tuple[int, int, Tensor] | None = None

    def __call__(self, progress: Progress) -> Image.Image | None:
        """Return the picture as far as it can be told after this step; None where that is not possible."""
        if progress.latents is None:
            return None
        latents = progress.latents.detach()
        before, self._before = self._before, (progress.picture, progress.step, latents.clone())
        clean = latents
        if before is not None and before[0] == progress.picture and before[1] < progress.step:
            clean = self._without_noise(before[2], before[1], latents, progress.step)
        return self._decoded(clean)

    def _without_noise(self, older: Tensor, older_step: int, newer: Tensor, step: int) -> Tensor:
        """Return x of older = a₁·x + s₁·n and newer = a₂·x + s₂·n."""
        older_level, level = self._level(older_step), self._level(step)
        if older_level is None or level is None:
            return newer
        (signal_1, noise_1), (signal_2, noise_2) = older_level, level
        determinant = signal_2 * noise_1 - signal_1 * noise_2
        if abs(determinant) < 1e-4:
            return newer
        return (newer * noise_1 - older * noise_2) / determinant

    def _level(self, step: int) -> tuple[float, float] | None:
        """Return how much of signal and of noise the latents have after `step` steps; None if unknown."""
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
        cumulative = getattr(scheduler, "alphas_cumprod", None)
        if cumulative is None:
            return None
        if step < len(scheduler.timesteps):
            power = float(cumulative[int(scheduler.timesteps[step])])
        else:
            power = float(getattr(scheduler, "final_alpha_cumprod", 1.0))
        return power**0.5, max(0.0, 1 - power) ** 0.5

    def _decoded(self, latents: Tensor) -> Image.Image | None:
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
        if longer > MOST_CELLS:
            size = [max(1, round(side * MOST_CELLS / longer)) for side in latents.shape[-2:]]
            latents = F.interpolate(latents.float(), size, mode="bilinear", antialias=True)
        vae = pipe.vae
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        with torch.no_grad():
            pixels = vae.decode((latents / vae.config.scaling_factor + shift).to(vae.dtype)).sample[0]
        values = (pixels.float().clamp(-1, 1) + 1) * 127.5
        return Image.fromarray(values.nan_to_num().round().byte().permute(1, 2, 0).cpu().numpy())
