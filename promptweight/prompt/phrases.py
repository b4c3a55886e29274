"""Phrases of a prompt: runs of words between function words, punctuation and little words of place.

Articles, prepositions, conjunctions, pronouns and punctuation divide a prompt into phrases, in Portuguese and
in English: "um gato vermelho e um rato cinza" has "gato vermelho" and "rato cinza". Verbs stay with the
phrase beside them. Functions that need other phrases take them by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from promptweight.prompt.words import fold


class Word(Protocol):
    """A word of a prompt, as token tables have it."""

    @property
    def text(self) -> str:
        """The word as it is written."""

    @property
    def is_punctuation(self) -> bool:
        """True for punctuation."""


AnyWord = TypeVar("AnyWord", bound=Word)

# articles, contractions, prepositions, conjunctions, pronouns, forms of "ser" and "estar", places
PORTUGUESE = (
    "o a os as um uma uns umas de do da dos das dum duma em no na nos nas num numa ao à aos às por pelo pela "
    "pelos pelas para pra com sem sob sobre entre até e ou mas nem que como se seu sua seus suas este esta "
    "esse essa aquele aquela ele ela eles elas é são está estão acima abaixo cima baixo embaixo lado junto "
    "perto longe esquerda direita atrás frente dentro fora fundo desenho imagem foto"
)
ENGLISH = (
    "a an the of in on at to by for with without under over above below between from into onto and or but "
    "nor that which as its his her their this these those it he she they is are left right next near behind "
    "beside front inside outside background drawing picture photo"
)
FUNCTION_WORDS = frozenset(f"{PORTUGUESE} {ENGLISH}".split())
"""Words that name no object, words of place and words for the image itself among them."""


def split_phrases(words: Sequence[AnyWord]) -> tuple[tuple[AnyWord, ...], ...]:
    """Return the phrases of a prompt's words, in order, each a run of neighboring words."""
    found: list[list[AnyWord]] = [[]]
    for word in words:
        if word.is_punctuation or fold(word.text) in FUNCTION_WORDS:
            found.append([])
        else:
            found[-1].append(word)
    return tuple(tuple(run) for run in found if run)
