"""Result of a measurement of reach: what the weight of each phrase changes, and what is left of it at 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptweight.generation.carriers import Carrier
from promptweight.messages import Message, message

MIN_SHARE, MAX_NAMED = 0.1, 3
"""Smallest share of a carrier that a sentence names, and the number of those."""


@dataclass(frozen=True)
class PhraseReach:
    """Reach of the weight of one phrase.

    Attributes:
        phrase: the phrase.
        weight: its weight; None where its words have different ones.
        reach: the part of the phrase that the weight changes; None where the prediction without the phrase is
            the same.
        residual: the part that is left at weight 0, likewise.
        carriers: what holds the residual, by descending share; empty where nothing is left.
    """

    phrase: str
    weight: float | None
    reach: float | None
    residual: float | None
    carriers: tuple[Carrier, ...] = ()

    @property
    def named_carriers(self) -> tuple[Carrier, ...]:
        """The carriers that sentences name, those with the largest shares."""
        return tuple(carrier for carrier in self.carriers if carrier.share >= MIN_SHARE)[:MAX_NAMED]

    def summary(self) -> Message:
        """Return a sentence with the numbers, and the carriers with the largest shares."""
        if self.reach is None or self.residual is None:
            return message("reach-no-effect", phrase=self.phrase)
        if self.weight is None:
            beginning = message("reach-weights", phrase=self.phrase, reach=self.reach)
        elif self.weight == 1:
            beginning = message("reach-unweighted", phrase=self.phrase)
        else:
            beginning = message("reach-weight", weight=self.weight, phrase=self.phrase, reach=self.reach)
        sentence = message("reach-residual", beginning=beginning, residual=self.residual)
        names = [carrier.name for carrier in self.named_carriers]
        return message("reach-carried", sentence=sentence, carriers=_join(names)) if names else sentence


@dataclass(frozen=True)
class ReachReport:
    """Reaches of the weights of a prompt.

    Attributes:
        text: the clean text of the prompt at the measured step.
        weighting: how the weights act.
        seed: the seed of the noise.
        step: the measured step, from 1.
        steps: the number of steps of the run.
        phrases: the phrases, in the order of the prompt.
    """

    text: str
    weighting: str
    seed: int
    step: int
    steps: int
    phrases: tuple[PhraseReach, ...]


def _join(names: Sequence[Message]) -> Message:
    """Return the names as a list in a sentence."""
    joined = names[0]
    for name in names[1:]:
        joined = message("reach-list", first=joined, next=name)
    return joined
