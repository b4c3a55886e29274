"""Job: a prompt, a seed and the options of generation, which determine one image of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from promptweight.generation import GenerateOptions


@dataclass(frozen=True, slots=True)
class Job:
    """One image of a batch: the arguments of `promptweight.generate`.

    Attributes:
        prompt: the prompt as text.
        seed: the seed.
        options: all else, without a seed; the images of a row share one object.
    """

    prompt: str
    seed: int
    options: GenerateOptions

    @property
    def negative_prompt(self) -> str:
        """The negative prompt as text."""
        negative = self.options.negative_prompt
        return negative if isinstance(negative, str) else negative.source
