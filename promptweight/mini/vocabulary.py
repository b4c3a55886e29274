"""Vocabulary of built-in models: known words, and detection of unknown words with suggestions for them."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from promptweight.mini import lexicon
from promptweight.mini.related_words import stand_ins
from promptweight.mini.scenes import MIRROR, RIDE
from promptweight.mini.worlds import World

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
MAX_SUGGESTIONS = 3
MIN_LIKENESS = 0.7  # minimum similarity ratio (difflib) between two words
GLUE = {
    "pt": "um uma o a os as e de do da dos das em no na nos nas com ao à seu sua fundo",
    "en": "a an the and of on in at with to its background",
}
"""Function words by language, known to every model."""


@dataclass(frozen=True)
class UnknownWord:
    """Prompt word outside a model's training vocabulary, and the nearest known words."""

    word: str
    start: int
    """Index of the word's first character in the prompt."""
    suggestions: dict[str, tuple[str, ...]]
    """Nearest known words by language ("pt", "en")."""


@cache
def known_words(world: World, language: str) -> frozenset[str]:
    """Return all words, in lower case, that can occur in captions of a world in a language."""
    said = [GLUE[language], *_things(world, language), *_adjectives(world, language)]
    relations = lexicon.RELATION_WORDS[language]
    said += [way for relation in ("", *world.relations) for way in relations.get(relation, ())]
    said += {
        "pt": ["desenho imagem"] + ["reflexo água"] * (MIRROR in world.relations),
        "en": ["drawing picture"] + ["reflection water"] * (MIRROR in world.relations),
    }[language]
    if RIDE in world.relations:
        said += {"pt": ["a cavalo montado"], "en": ["riding"]}[language]
    said += [way for place in world.places for way in lexicon.PLACE_WORDS[language][place]]
    for weather in world.weathers:
        said += [way for ways in lexicon.WEATHER_WORDS[language][weather] for way in ways]
    said += [way for light in world.lights for way in lexicon.LIGHT_WORDS[language][light]]
    return frozenset(word for text in said for word in words(text))


def _things(world: World, language: str) -> list[str]:
    form = {"pt": 1, "en": 2}[language]
    nouns = [noun for kind in world.things for noun in lexicon.NOUNS[kind][form]]
    return nouns + [lexicon.plural(noun, language) for noun in nouns if world.numbers]


def _adjectives(world: World, language: str) -> list[str]:
    """Return the adjectives and numbers of a world, in all inflected forms."""
    tables = [(*lexicon.ADJECTIVES[color][:2], *spellings_of(color, world)) for color in world.colors]
    tables += [lexicon.SHADE_WORDS[shade] for shade in world.shades]
    tables += [lexicon.SIZE_WORDS[size] for size in world.sizes]
    tables += [lexicon.PATTERN_WORDS[pattern] for pattern in world.patterns]
    forms = [form for table in tables for form in (table[:2] if language == "pt" else table[2:])]
    if language == "pt" and world.numbers:
        forms += [lexicon.plural(form, "pt") for form in forms]
    if language == "en":
        forms += [lexicon.SIZE_SYNONYMS[word] for word in forms if word in lexicon.SIZE_SYNONYMS]
    forms += [lexicon.PATTERN_PHRASES[language][pattern] for pattern in world.patterns]
    for number in (*(("1",) if world.numbers else ()), *world.numbers):
        for way in lexicon.NUMBER_WORDS[number]:
            forms += way[:2] if language == "pt" else way[2:]
    return forms


def spellings_of(color: str, world: World) -> tuple[str, ...]:
    """Return a world's English words for a color, the default first."""
    words = lexicon.ADJECTIVES[color][2:]
    return tuple(word for word in words if len(words) == 1 or word in world.spellings)


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; parts of hyphenated words are separate words."""
    return [part for match in _WORD.finditer(text.lower()) for part in match.group().split("-")]


def unknown_words(prompt: str, world: World) -> list[UnknownWord]:
    """Return the prompt words outside the training vocabulary of a world, without repetition, in order.

    Suggestions list the objects nearest in meaning first, then the words nearest in spelling.

    >>> from promptweight.mini.worlds import FIRST
    >>> [(found.word, found.suggestions["en"]) for found in unknown_words("a tiger and a cirle", FIRST)]
    [('tiger', ('cat',)), ('cirle', ('circle',))]
    """
    known = {language: known_words(world, language) for language in lexicon.LANGUAGES}
    everywhere = frozenset().union(*known.values())
    found: dict[str, UnknownWord] = {}
    for match in _WORD.finditer(prompt.lower()):
        start = match.start()
        for part in match.group().split("-"):
            if part and part not in everywhere and part not in found:
                found[part] = UnknownWord(
                    part, start, {language: _suggest(part, world, language) for language in lexicon.LANGUAGES}
                )
            start += len(part) + 1
    return list(found.values())


def _suggest(word: str, world: World, language: str) -> tuple[str, ...]:
    form = {"pt": 1, "en": 2}[language]
    meant = [lexicon.NOUNS[kind][form][0] for kind in stand_ins(word) if kind in world.things]
    return tuple(dict.fromkeys([*meant, *nearest_words(word, _drawable(world, language))]))[:MAX_SUGGESTIONS]


@cache
def _drawable(world: World, language: str) -> tuple[str, ...]:
    """Return the nouns and adjectives of a world in the singular, as candidates for suggestions."""
    single = replace(world, numbers=())
    return tuple(dict.fromkeys([*_things(single, language), *_adjectives(single, language)]))


def example_words(world: World) -> list[str]:
    """Return the objects of a world, each as its plain Portuguese and its plain English noun.

    >>> from promptweight.mini.worlds import FIRST
    >>> example_words(FIRST)[:2]
    ['gato (cat)', 'rato (mouse)']
    """
    nouns = [lexicon.NOUNS[kind] for kind in world.things]
    return [f"{portuguese[0]} ({english[0]})" for _, portuguese, english in nouns]


def nearest_in(world: World) -> dict[str, str]:
    """Map words of the whole world to the words of a world that are nearest in meaning.

    Plurals and alternative spellings map to the word itself, other objects to the nearest one of the world.

    >>> from promptweight.mini.worlds import FIRST
    >>> near = nearest_in(FIRST)
    >>> near["gatos"], near["gray"], near["rabbit"]
    ('gato', 'grey', 'mouse')
    """
    nearest: dict[str, str] = {}
    for kind, (_, *nouns) in lexicon.NOUNS.items():
        kinds = [near for near in (kind, *stand_ins(lexicon.NOUNS[kind][2][0])) if near in world.things]
        for language, form in (("pt", 1), ("en", 2)):
            for noun in nouns[form - 1]:
                known = noun if kind in world.things else lexicon.NOUNS[kinds[0]][form][0] if kinds else noun
                nearest |= {noun: known, lexicon.plural(noun, language): known}
    for masculine, feminine, *english in lexicon.ADJECTIVES.values():
        nearest |= {lexicon.plural(word, "pt"): word for word in (masculine, feminine)}
        nearest |= dict.fromkeys(english, english[0])
    return nearest


def nearest_words(word: str, among: Iterable[str]) -> tuple[str, ...]:
    """Return up to `MAX_SUGGESTIONS` words with the most similar spelling, ignoring accents."""
    bare = {each: _bare(each) for each in among}
    likeness = {
        each: difflib.SequenceMatcher(None, _bare(word), plain, autojunk=False).ratio()
        for each, plain in bare.items()
    }
    close = [each for each in bare if likeness[each] >= MIN_LIKENESS]
    return tuple(sorted(close, key=lambda each: (-likeness[each], each))[:MAX_SUGGESTIONS])


def _bare(word: str) -> str:
    decomposed = unicodedata.normalize("NFD", word.lower())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
