"""Attributes that go to the wrong thing, told from the maps long before the picture is done.

In "um gato vermelho e um rato cinza" the words of a phrase should look at one place. Where the map of
"vermelho" is more like the map of "rato cinza" than like that of "gato", red is about to leak.

    for leak in leaks(progress.maps):      # in generate's callback, after five steps of 25, say
        print(leak)                        # "vermelho" looks at "rato cinza" rather than at "gato"

How often such a warning is right is measured by `promptweight evaluate --questions leakage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from promptweight.attention.phrases import phrases

if TYPE_CHECKING:
    from promptweight.attention.maps import AttentionMaps
    from promptweight.conditioning.tokens import Word

THRESHOLD = 0.0
"""A word leaks when its map is so much more like another phrase's than like its own."""


@dataclass(frozen=True)
class Leak:
    """A word, the rest of its phrase, and the other phrase that its map is likest to."""

    word: str
    own: str
    other: str
    score: float
    """Correlation of its map with the other phrase's, less that with its own phrase's: -2 to 2."""

    def __str__(self) -> str:
        return f"{self.word!r} looks at {self.other!r} rather than at {self.own!r}"


def leak_scores(maps: AttentionMaps, image: int = 0) -> tuple[Leak, ...]:
    """Every word of a phrase of two words or more, and how much more its map is like another phrase's.

    Args:
        maps: what was recorded up to now.
        image: which picture of the run.
    """
    runs = phrases(maps.words_of(image=image))
    if len(runs) < 2:
        return ()
    shares = maps.share()
    heats = [[word_heat(shares, word, image) for word in run] for run in runs]
    found = []
    for place, run in enumerate(runs):
        for index, word in enumerate(run):
            rest = [heat for number, heat in enumerate(heats[place]) if number != index]
            if not rest:
                continue
            own = alike(heats[place][index], torch.stack(rest).sum(0))
            others = {
                other: alike(heats[place][index], torch.stack(heats[other]).sum(0))
                for other in range(len(runs))
                if other != place
            }
            likest = max(others, key=lambda other: others[other])
            rest_text = " ".join(each.text for number, each in enumerate(run) if number != index)
            found.append(Leak(word.text, rest_text, said(runs[likest]), others[likest] - own))
    return tuple(found)


def leaks(maps: AttentionMaps, image: int = 0, *, threshold: float = THRESHOLD) -> tuple[Leak, ...]:
    """The words that look at another phrase's thing, the surest first.

    Args:
        maps: what was recorded up to now; a fifth of the run is enough.
        image: which picture of the run.
        threshold: -2 to 2; higher ones warn less often and are right more often.
    """
    found = [leak for leak in leak_scores(maps, image) if leak.score > threshold]
    return tuple(sorted(found, key=lambda leak: -leak.score))


def word_heat(shares: AttentionMaps, word: Word, image: int) -> Tensor:
    """The map of one word, whichever text encoders read it."""
    return shares.word(word.text, word.occurrence, image=image).tensor


def said(run: Sequence[Word]) -> str:
    """A phrase as text."""
    return " ".join(word.text for word in run)


def alike(one: Tensor, other: Tensor) -> float:
    """The correlation of two maps, -1 to 1; 0 where one is flat."""
    a, b = one.flatten() - one.mean(), other.flatten() - other.mean()
    norms = a.norm() * b.norm()
    return float(a @ b / norms) if norms > 0 else 0.0
