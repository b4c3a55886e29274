"""Early detection of phrases that may be missing or mixed up, from the attention maps of a running image.

In "um gato vermelho e um rato cinza" the maps of the two phrases should soon concentrate on different
regions. If the map of "rato cinza" is still spread out when that of "gato vermelho" is concentrated, the
mouse is likely to be missing or to take the color of the cat.

    for leak in find_leaks(maps):      # maps of the fifth step of 25, for example
        print(leak)                    # 'rato cinza' has no distinct attention region (most similar: …)

`generate` runs the check after a fifth of the steps (`EarlyLeakCheck`) and adds the leaks to its warnings.
The command `promptweight evaluate` measures how often they are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from promptweight.prompt import fold, split_phrases

if TYPE_CHECKING:
    from promptweight.attention import AttentionSession
    from promptweight.conditioning import Word
    from promptweight.maps import AttentionMaps

LEAK_THRESHOLD = 0.5
"""Score above which a phrase counts as a leak. Chosen on 96 images of the built-in model with seeds that no
report
uses: above it four of five images with a warning had a missing or mixed-up object, and three of five such
    images
had a warning."""
CHECK_FRACTION = 0.2
"""Fraction of the steps of a run after which `generate` checks for leaks."""
MAX_OBJECTS = 32
"""Objects of a prompt above which `generate` does not check for leaks: it compares the maps of all pairs."""

_ARTICLES = frozenset(
    (
        "um",
        "uma",
        "uns",
        "umas",
        "o",
        "a",
        "os",
        "as",
        "do",
        "da",
        "dos",
        "das",
        "ao",
        "à",
        "aos",
        "às",
        "an",
        "the",
    )
)
"""Words that may precede a phrase that names an object, with the contractions that contain an article."""
_PLACE_WORDS = frozenset(
    (
        "em",
        "no",
        "na",
        "nos",
        "nas",
        "num",
        "numa",
        "dentro",
        "fundo",
        "in",
        "on",
        "inside",
        "at",
        "background",
    )
)
"""Words before a phrase that names a place, which has a diffuse map."""


@dataclass(frozen=True)
class Leak:
    """A phrase without a distinct attention region.

    Attributes:
        phrase: the phrase.
        other: the phrase whose map correlates most with its own.
        score: 1 - contrast of its map / highest contrast in the prompt: 0 (as concentrated) to 1.
    """

    phrase: str
    other: str
    score: float

    def __str__(self) -> str:
        return f"{self.phrase!r} has no distinct attention region (most similar: {self.other!r})"


def score_leaks(maps: AttentionMaps, image: int = 0) -> tuple[Leak, ...]:
    """Return every phrase that names an object (`object_phrases`) with the score of its map.

    The map of a phrase is that of its last word, because a causal text encoder collects a phrase there. Its
    contrast is the standard deviation of the word's share over the image divided by the mean.

    Args:
        maps: recorded maps; those of one step rather than of all steps so far, since the first steps are
            diffuse.
        image: index of the image in the run.
    """
    runs = object_phrases(maps.list_words(image=image))
    if len(runs) < 2:
        return ()
    shares = maps.share()
    heats = [shares.word(run[-1].text, run[-1].occurrence, image=image).tensor for run in runs]
    contrasts = [map_contrast(heat) for heat in heats]
    highest = max(contrasts)
    scored = []
    for index, run in enumerate(runs):
        others = [other for other in range(len(runs)) if other != index]
        closest = max(others, key=lambda other: map_correlation(heats[index], heats[other]))
        score = 1 - contrasts[index] / highest if highest > 0 else 0.0
        scored.append(Leak(phrase_text(run), phrase_text(runs[closest]), score))
    return tuple(scored)


def find_leaks(maps: AttentionMaps, image: int = 0, *, threshold: float = LEAK_THRESHOLD) -> tuple[Leak, ...]:
    """Return the phrases without a distinct attention region, highest score first.

    Args:
        maps: recorded maps, as for `score_leaks`.
        image: index of the image in the run.
        threshold: 0 to 1; a higher one gives fewer and more reliable warnings.
    """
    leaks = [leak for leak in score_leaks(maps, image) if leak.score > threshold]
    return tuple(sorted(leaks, key=lambda leak: -leak.score))


class EarlyLeakCheck:
    """Check of a running session for leaks, once, after a fifth of its steps.

    Args:
        session: a session that records.
        images: number of images of the run.

    Attributes:
        maps: the maps of the step that was checked, by itself; None before it and where no check is needed.
        leaks: the leaks of every image.
    """

    def __init__(self, session: AttentionSession, images: int) -> None:
        self.maps: AttentionMaps | None = None
        self.leaks: tuple[tuple[Leak, ...], ...] = ((),) * images
        texts = session.tables["positive"]
        self._can_leak = [can_leak(texts[image].words) for image in range(images)]
        self._session = session
        self._before: AttentionMaps | None = None

    def on_step_end(self, steps_done: int, steps: int) -> None:
        """Check the maps if `steps_done` is the step of the check."""
        if not any(self._can_leak) or steps_done not in (check_step(steps) - 1, check_step(steps)):
            return  # without a copy of the recorded maps
        maps = self._session.maps
        if "positive" not in maps.recording.roles:
            return
        if steps_done < check_step(steps):
            self._before = maps
            return
        self.maps = maps if self._before is None else subtract_maps(maps, self._before)
        self._before = None
        self.leaks = tuple(
            find_leaks(self.maps, image) if is_checked else ()
            for image, is_checked in enumerate(self._can_leak)
        )


def check_step(steps: int) -> int:
    """Return the number of steps after which to check a run: a fifth of them, at least 1."""
    return max(1, round(steps * CHECK_FRACTION))


def subtract_maps(maps: AttentionMaps, before: AttentionMaps) -> AttentionMaps:
    """Return the maps recorded after `before`; all of `maps` if different layers had been recorded."""
    if [slot.layers for slot in maps.recording.slots] != [slot.layers for slot in before.recording.slots]:
        return maps
    slots = [
        replace(now, sums=now.sums - then.sums, counts=now.counts - then.counts)
        for now, then in zip(maps.recording.slots, before.recording.slots, strict=True)
    ]
    return type(maps).from_recording(replace(maps.recording, slots=tuple(slots)))


def can_leak(words: Sequence[Word]) -> bool:
    """Return True if a prompt names two objects or more, up to `MAX_OBJECTS`."""
    return 1 < len(object_phrases(words)) <= MAX_OBJECTS


def object_phrases(words: Sequence[Word]) -> tuple[tuple[Word, ...], ...]:
    """Return the phrases of a prompt that name an object each, without verbs.

    An object has an article before it and no word of place; "in a forest", styles and lists of words are not
    objects. A verb stands at the end of its phrase: it is the last of two or more words if only an article
    precedes the next phrase ("um gato persegue um rato"), or of three or more words before any other phrase.
    """
    runs = split_phrases(words)
    index_of = {id(word): index for index, word in enumerate(words)}
    starts = [index_of[id(run[0])] for run in runs]
    ends = [0, *(start + len(run) for start, run in zip(starts, runs, strict=True))]
    gaps = [[fold(word.text) for word in words[end:start]] for end, start in zip(ends, starts, strict=False)]
    named = []
    for number, (run, gap) in enumerate(zip(runs, gaps, strict=True)):
        if not gap or gap[-1] not in _ARTICLES or _PLACE_WORDS.intersection(gap):
            continue
        following = gaps[number + 1] if number + 1 < len(gaps) else None
        has_verb = following is not None and (
            len(run) > 2 or (len(run) == 2 and _ARTICLES.issuperset(following))
        )
        named.append(run[:-1] if has_verb else run)
    return tuple(named)


def phrase_text(run: Sequence[Word]) -> str:
    """Return the text of a phrase."""
    return " ".join(word.text for word in run)


def map_contrast(heat: Tensor) -> float:
    """Return the standard deviation of a map divided by its mean; 0 for a constant map."""
    return float(heat.std(correction=0) / heat.mean().clamp_min(1e-12))


def map_correlation(one: Tensor, other: Tensor) -> float:
    """Return the correlation of two maps, -1 to 1; 0 if one is constant."""
    a, b = one.flatten() - one.mean(), other.flatten() - other.mean()
    norms = a.norm() * b.norm()
    return float(torch.dot(a, b) / norms) if norms > 0 else 0.0
