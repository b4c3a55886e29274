"""The evaluated model of a report and the size of its measurements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptweight.mini.worlds import World
    from promptweight.protocols import Pipeline


@dataclass(frozen=True)
class EvaluatedModel:
    """A model and the settings of its measurements."""

    name: str
    pipeline: Pipeline
    number: int
    """Prompts of the largest measurement; the others use a fraction."""
    seed: int
    world: World | None
    """The built-in world that the model generates, so that masks are known; None for any other model."""
    weightings: tuple[str, ...] = ()
    """Weightings of the measurement `weight-response`, as text; all if empty."""
    folder: Path | None = None
    """Folder of the checkpoint, from which a stopped run resumes."""

    @property
    def draws_builtin_world(self) -> bool:
        """True if the model generates a built-in world."""
        return self.world is not None

    def fraction(self, divisor: int) -> int:
        """Return `number` divided by `divisor`, at least 1."""
        return max(1, self.number // divisor)
