"""The things that a prompt names, told apart without a grammar: runs of words between little words.

Articles, prepositions, conjunctions, pronouns and punctuation divide a prompt into phrases, in Portuguese and
in English: "um gato vermelho e um rato cinza" has "gato vermelho" and "rato cinza". Verbs are not known: they
stay with the phrase that they touch. Where that is not what is meant, functions take the phrases by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptweight.prompt.words import fold

if TYPE_CHECKING:
    from promptweight.conditioning import Word

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
LITTLE_WORDS = frozenset(f"{PORTUGUESE} {ENGLISH}".split())
"""Words that name no thing by themselves, place words and words for the picture itself among them."""


def phrases(words: Sequence[Word]) -> tuple[tuple[Word, ...], ...]:
    """The phrases of a prompt's words, in order, each a run of neighboring words.

    Args:
        words: the words of a token table.
    """
    found: list[list[Word]] = [[]]
    for word in words:
        if word.is_punctuation or fold(word.text) in LITTLE_WORDS:
            found.append([])
        else:
            found[-1].append(word)
    return tuple(tuple(run) for run in found if run)


def named(runs: Sequence[Sequence[Word]]) -> list[tuple[str, int]]:
    """Each phrase as its text, and how many equal ones come before it."""
    before: Counter[str] = Counter()
    names = []
    for run in runs:
        text = " ".join(word.text for word in run)
        names.append((text, before[fold(text)]))
        before[fold(text)] += 1
    return names
