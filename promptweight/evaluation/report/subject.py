"""The evaluated model of a report and the size of its measurements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class EvaluatedModel:
    """A model and the settings of its measurements."""

    name: str
    pipeline: Any
    number: int
    """Prompts of the largest measurement; the others use a fraction."""
    seed: int
    draws_builtin_world: bool
    """True if the model generates the built-in world, so that masks are known."""
    weightings: tuple[str, ...] = ()
    """Weightings or spaces of the measurement `weight-response`; all if empty."""
    folder: Path | None = None
    """Folder of the checkpoint, from which a stopped run resumes."""

    def fraction(self, divisor: int) -> int:
        """Return `number` divided by `divisor`, at least 1."""
        return max(1, self.number // divisor)


def draws_builtin_world(pipeline: Any) -> bool:
    """Return True if the model's folder names its world, or if its images have 64 × 64 pixels."""
    from promptweight.mini.worlds import world_of

    if world_of(pipeline) is not None:
        return True
    model = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    size = getattr(getattr(model, "config", None), "sample_size", None)
    return isinstance(size, int) and size * getattr(pipeline, "vae_scale_factor", 8) == 64
