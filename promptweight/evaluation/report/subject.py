"""Who is asked the questions of a report: a model, and how thoroughly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Subject:
    """A model, and how thoroughly it is asked."""

    name: str
    pipeline: Any
    number: int
    """Prompts of the largest question; the others take a part of it."""
    seed: int
    draws_world: bool
    """Whether it draws the built-in world, so that masks are known."""
    ways: tuple[str, ...] = ()
    """Ways in which weights act, or spaces, that `response` is asked of; all when empty."""
    folder: Path | None = None
    """Where what was measured is kept, so that a run that was stopped goes on."""

    def part(self, divisor: int) -> int:
        """So many prompts as a costly question gets, 1 or more."""
        return max(1, self.number // divisor)


def draws_world(pipeline: Any) -> bool:
    """Whether a pipeline's own pictures have the 64 pixels a side of the built-in world."""
    model = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    size = getattr(getattr(model, "config", None), "sample_size", None)
    return isinstance(size, int) and size * getattr(pipeline, "vae_scale_factor", 8) == 64
