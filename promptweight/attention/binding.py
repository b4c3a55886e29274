"""Attributes that go to the wrong thing, told from the maps long before the picture is done.

In "um gato vermelho e um rato cinza" the words of a phrase should look at one place. Where the map of
"vermelho" is more like the map of "rato cinza" than like that of "gato", red is about to leak.

    for leak in leaks(progress.maps):      # in generate's callback, after five steps of 25, say
        print(leak)                        # "vermelho" looks at "rato cinza" rather than at "gato"

`generate` looks by itself after a fifth of the steps (`early_leaks`) and says what it saw in its warnings.
How often they are right is measured by `promptweight evaluate --questions leakage`.
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
    from promptweight.attention.session import AttentionSession
    from promptweight.conditioning.tokens import Word

THRESHOLD = 0.2
"""A word leaks when its map is so much more like another phrase's than like its own. Chosen on 40 pictures of
three things by the built-in model, where it found 60 % of those with something missing or mixed up."""
LOOK_AFTER = 0.2
"""The part of a run after which `generate` looks."""


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
    """The last word of every phrase of two words or more, and how much more its map is like another phrase's.

    A causal text encoder puts what it knows of a phrase on its last word; the maps of the others say less.

    The last of three words or more, before another phrase, may be a verb, as in "um gato vermelho persegue
    um rato", which looks at both things as it should: it is left out.

    Args:
        maps: what was recorded up to now.
        image: which picture of the run.
    """
    runs = without_verbs(phrases(maps.words_of(image=image)))
    if len(runs) < 2:
        return ()
    shares = maps.share()
    heats = [[word_heat(shares, word, image) for word in run] for run in runs]
    found = []
    for place, run in enumerate(runs):
        *rest, last = heats[place]
        if not rest:
            continue
        own = alike(last, torch.stack(rest).sum(0))
        others = {
            other: alike(last, torch.stack(heats[other]).sum(0))
            for other in range(len(runs))
            if other != place
        }
        likest = max(others, key=lambda other: others[other])
        found.append(Leak(run[-1].text, said(run[:-1]), said(runs[likest]), others[likest] - own))
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


def early_step(steps: int) -> int:
    """After how many steps of a run to look for leaks: a fifth of them, one at least."""
    return max(1, round(steps * LOOK_AFTER))


def early_leaks(session: AttentionSession, images: int) -> tuple[tuple[Leak, ...], ...]:
    """The leaks of every picture of a running session, for its warnings; none where none can be told.

    Args:
        session: one that has recorded some steps.
        images: how many pictures it makes.
    """
    texts = session.tables["positive"]
    if not any(can_leak(texts[image].words) for image in range(images)):
        return ((),) * images  # without a copy of what was recorded
    maps = session.maps
    if "positive" not in maps.recording.roles:
        return ((),) * images
    return tuple(leaks(maps, image) for image in range(images))


def can_leak(words: Sequence[Word]) -> bool:
    """Whether a prompt has two phrases, one of them of two words or more."""
    runs = phrases(words)
    return len(runs) > 1 and any(len(run) > 1 for run in runs)


def without_verbs(runs: Sequence[Sequence[Word]]) -> tuple[Sequence[Word], ...]:
    """Phrases without words that may be verbs between two of them."""
    return tuple(
        run[:-1] if len(run) > 2 and place < len(runs) - 1 else run for place, run in enumerate(runs)
    )


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
