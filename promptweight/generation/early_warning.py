"""Things that will be missing or mixed up, told from the maps long before the picture is done.

In "um gato vermelho e um rato cinza" each phrase should soon look at a place of its own. Where the map of
"rato cinza" is still spread out when that of "gato vermelho" has drawn together, the mouse is about to be
forgotten, or drawn in the color of the cat.

    for leak in leaks(maps):      # of the fifth step of 25, say
        print(leak)               # "rato cinza" has no clear place, and its map is likest to that of …

`generate` looks by itself after a fifth of the steps (`EarlyLeakCheck`) and says what it saw in its warnings. How
often they are right is measured by `promptweight evaluate --questions leakage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from promptweight.prompt import fold, phrases

if TYPE_CHECKING:
    from promptweight.attention import AttentionSession
    from promptweight.conditioning import Word
    from promptweight.maps import AttentionMaps

LEAK_THRESHOLD = 0.5
"""A phrase has no clear place when its map is so much less focused than the most focused one. Chosen on 96
pictures by the built-in model, of seeds that no report uses; above it four warned pictures in five lacked
something, and three of five pictures that did were warned of."""
CHECK_FRACTION = 0.2
"""The part of a run after which `generate` looks."""

_BEFORE_THINGS = "um uma uns umas o a os as do da dos das ao à aos às an the"
_BEFORE_PLACES = "em no na nos nas num numa dentro fundo in on inside at background"
ARTICLES = frozenset(_BEFORE_THINGS.split())
"""What may stand before a phrase that names a thing, with the contractions that hold an article."""
PLACES = frozenset(_BEFORE_PLACES.split())
"""A phrase after one of these may be where the things are; it is looked at everywhere, as it should be."""


@dataclass(frozen=True)
class Leak:
    """A phrase without a clear place, and the other phrase whose map its own is likest to."""

    phrase: str
    other: str
    score: float
    """How much less focused its map is than the most focused one of the prompt: 0 (no less) to 1."""

    def __str__(self) -> str:
        return f"{self.phrase!r} has no clear place, and its map is likest to that of {self.other!r}"


def score_leaks(maps: AttentionMaps, image: int = 0) -> tuple[Leak, ...]:
    """Every phrase that names a thing (`object_phrases`), and how unfocused the map of its last word is.

    A causal text encoder puts what it knows of a phrase on its last word. How focused a map is, is the
    standard deviation of the word's share over the picture, in parts of its mean.

    Args:
        maps: what was recorded; of one step rather than of all up to now, since the first say little.
        image: which picture of the run.
    """
    runs = object_phrases(maps.words_of(image=image))
    if len(runs) < 2:
        return ()
    shares = maps.share()
    heats = [shares.word(run[-1].text, run[-1].occurrence, image=image).tensor for run in runs]
    focus = [map_contrast(heat) for heat in heats]
    most = max(focus)
    found = []
    for place, run in enumerate(runs):
        others = [other for other in range(len(runs)) if other != place]
        likest = max(others, key=lambda other: map_correlation(heats[place], heats[other]))
        score = 1 - focus[place] / most if most > 0 else 0.0
        found.append(Leak(phrase_text(run), phrase_text(runs[likest]), score))
    return tuple(found)


def find_leaks(maps: AttentionMaps, image: int = 0, *, threshold: float = LEAK_THRESHOLD) -> tuple[Leak, ...]:
    """The phrases without a clear place, the surest first.

    Args:
        maps: what was recorded; as for `score_leaks`.
        image: which picture of the run.
        threshold: 0 to 1; higher ones warn less often and are right more often.
    """
    found = [leak for leak in score_leaks(maps, image) if leak.score > threshold]
    return tuple(sorted(found, key=lambda leak: -leak.score))


class EarlyLeakCheck:
    """Looks at the maps of a running session once, after a fifth of its steps; to be told of every step.

    Args:
        session: one that records.
        images: how many pictures it makes.
    """

    def __init__(self, session: AttentionSession, images: int) -> None:
        self.maps: AttentionMaps | None = None
        """Of the step that was looked at, by itself."""
        self.leaks: tuple[tuple[Leak, ...], ...] = ((),) * images
        """Of every picture."""
        texts = session.tables["positive"]
        self._looks = any(can_leak(texts[image].words) for image in range(images))
        self._session = session
        self._before: AttentionMaps | None = None

    def after(self, steps_done: int, steps: int) -> None:
        """A step of the run is done."""
        if not self._looks or steps_done not in (check_step(steps) - 1, check_step(steps)):
            return  # without a copy of what was recorded
        maps = self._session.maps
        if "positive" not in maps.recording.roles:
            return
        if steps_done < check_step(steps):
            self._before = maps
            return
        self.maps = maps if self._before is None else subtract_maps(maps, self._before)
        self._before = None
        self.leaks = tuple(find_leaks(self.maps, image) for image in range(len(self.leaks)))


def check_step(steps: int) -> int:
    """After how many steps of a run to look for leaks: a fifth of them, one at least."""
    return max(1, round(steps * CHECK_FRACTION))


def subtract_maps(maps: AttentionMaps, before: AttentionMaps) -> AttentionMaps:
    """What was recorded of a run after `before` was taken of it; all of it where other layers had run."""
    if [slot.layers for slot in maps.recording.slots] != [slot.layers for slot in before.recording.slots]:
        return maps
    slots = [
        replace(now, sums=now.sums - then.sums, counts=now.counts - then.counts)
        for now, then in zip(maps.recording.slots, before.recording.slots, strict=True)
    ]
    return type(maps).of(replace(maps.recording, slots=tuple(slots)))


def can_leak(words: Sequence[Word]) -> bool:
    """Whether a prompt names two things."""
    return len(object_phrases(words)) > 1


def object_phrases(words: Sequence[Word]) -> tuple[tuple[Word, ...], ...]:
    """The phrases of a prompt that name a thing each, without verbs.

    A thing has an article before it and is not said to be a place; so "in a forest", styles and lists of
    words are no things. A verb touches its phrase: it is the last of two words or more where only an article
    stands before the next phrase ("um gato persegue um rato"), or of three or more before another phrase.
    """
    runs = phrases(words)
    place_of = {id(word): place for place, word in enumerate(words)}
    places = [place_of[id(run[0])] for run in runs]
    ends = [0, *(place + len(run) for place, run in zip(places, runs, strict=True))]
    gaps = [[fold(word.text) for word in words[end:place]] for end, place in zip(ends, places, strict=False)]
    found = []
    for number, (run, gap) in enumerate(zip(runs, gaps, strict=True)):
        if not gap or gap[-1] not in ARTICLES or PLACES.intersection(gap):
            continue
        following = gaps[number + 1] if number + 1 < len(gaps) else None
        is_verb = following is not None and (
            len(run) > 2 or (len(run) == 2 and ARTICLES.issuperset(following))
        )
        found.append(run[:-1] if is_verb else run)
    return tuple(found)


def phrase_text(run: Sequence[Word]) -> str:
    """A phrase as text."""
    return " ".join(word.text for word in run)


def map_contrast(heat: Tensor) -> float:
    """The standard deviation of a map in parts of its mean; 0 where it is flat."""
    return float(heat.std(correction=0) / heat.mean().clamp_min(1e-12))


def map_correlation(one: Tensor, other: Tensor) -> float:
    """The correlation of two maps, -1 to 1; 0 where one is flat."""
    a, b = one.flatten() - one.mean(), other.flatten() - other.mean()
    norms = a.norm() * b.norm()
    return float(torch.dot(a, b) / norms) if norms > 0 else 0.0
