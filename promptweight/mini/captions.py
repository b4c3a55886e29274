"""Captions of scenes in Portuguese and English.

Portuguese adjectives agree in gender and number (*uma casa vermelha*, *dois carros vermelhos*), and articles
contract with prepositions (*à esquerda do gato*). A scene has many captions: `caption` samples one of them,
`plainly` returns the default one:

>>> from promptweight.mini.scenes import Scene, Thing
>>> scene = Scene((Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)), relation="chase")
>>> plainly(scene, "pt")
'um gato vermelho persegue um rato cinza'
>>> plainly(scene, "en")
'a red cat chases a grey mouse'
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from promptweight.mini.lexicon import (
    ADJECTIVES,
    ARTICLES,
    INTRODUCTIONS,
    INVARIABLE,
    LANGUAGES,
    LIGHT_WORDS,
    NOUNS,
    NUMBER_WORDS,
    PATTERN_PHRASES,
    PATTERN_WORDS,
    PLACE_WORDS,
    RELATION_WORDS,
    SHADE_WORDS,
    SIZE_SYNONYMS,
    SIZE_WORDS,
    WEATHER_WORDS,
    plural,
)
from promptweight.mini.scenes import MANY, MIRROR, RIDE, Scene, Thing
from promptweight.mini.vocabulary import spellings_of
from promptweight.mini.worlds import WHOLE, World

__all__ = ["ADJECTIVES", "LANGUAGES", "NOUNS", "RELATION_WORDS", "Phrase", "caption", "phrase", "plainly"]

COLORLESS = 0.3  # share of captions without colors, so that a model learns nouns independently of colors


@dataclass(frozen=True)
class Phrase:
    """Noun phrase: article or number, noun, color, and adjectives of size and pattern.

    `size_first` puts a Portuguese size before the noun. `with_pattern` is a pattern as a prepositional
    phrase, such as "with stripes".
    """

    article: str
    noun: str
    adjective: str
    language: str
    size: str = ""
    pattern: str = ""
    size_first: bool = False
    with_pattern: str = ""

    @property
    def core(self) -> str:
        """The phrase without its article, in the word order of the language: "gato vermelho", "red cat"."""
        if self.language == "en":
            words = (self.size, self.pattern, self.adjective, self.noun, self.with_pattern)
        elif self.size_first:
            words = (self.size, self.noun, self.adjective, self.pattern, self.with_pattern)
        else:
            words = (self.noun, self.adjective, self.pattern, self.size, self.with_pattern)
        return " ".join(word for word in words if word)

    def __str__(self) -> str:
        article = self.article
        if article == "a" and self.language == "en" and self.core[0] in "aeiou":
            article = "an"
        return f"{article} {self.core}".strip()


def number_of(count: int) -> str:
    """Return the key of the number word for a group of `count` objects: "1", "2", "3" or "many"."""
    return str(count) if count <= 3 else MANY


def _color(
    thing: Thing, language: str, gender: str, several: bool, spellings: tuple[str, ...], hyphen: str
) -> str:
    """Return the words for a color and its shade; the first of the English `spellings` is used."""
    masculine, feminine, *_ = ADJECTIVES[thing.color]
    shade = SHADE_WORDS[thing.shade] if thing.shade else ("", "", "")
    if language == "en":
        return f"{shade[2]} {spellings[0]}".strip()
    if not thing.shade:
        word = masculine if gender == "m" else feminine
        return plural(word, "pt") if several else word
    if masculine in INVARIABLE:
        return masculine + hyphen + shade[0]
    word = shade[0] if gender == "m" else shade[1]
    return masculine + hyphen + (plural(word, "pt") if several else word)


def phrase(
    thing: Thing,
    language: str,
    *,
    noun: int = 0,
    article: int = 0,
    color: bool = True,
    count: int = 1,
    rng: Random | None = None,
    world: World = WHOLE,
) -> Phrase:
    """Return the noun phrase for an object, or for `count` objects with the same attributes.

    Args:
        thing: object to name.
        language: "pt" or "en".
        noun: index of the synonym; 0 is the default noun.
        article: 0 for indefinite, 1 for definite, 2 for none; several objects have a number instead.
        color: True to include the color.
        count: number of objects; more than three are "many".
        rng: random generator for the choice of adjectives and numbers; None selects the default words.
        world: world whose words are allowed.
    """
    gender, portuguese, english = NOUNS[thing.kind]
    several = count > 1
    form = {"m": 0, "f": 1}[gender] if language == "pt" else 2

    def inflected(words: tuple[str, str, str]) -> str:
        return plural(words[form], "pt") if several and language == "pt" else words[form]

    nouns = portuguese if language == "pt" else english
    word = nouns[noun % len(nouns)]
    numbers = NUMBER_WORDS[number_of(count)]
    if several:
        before = (rng.choice(numbers) if rng else numbers[0])[form]
    elif article == 0 and language == "en" and world.numbers and rng and rng.random() < 0.1:
        before = "one"
    else:
        before = (*(ARTICLES[gender] if language == "pt" else ("a", "the")), "")[article]
    size = inflected(SIZE_WORDS[thing.size]) if thing.size else ""
    pattern, with_pattern = inflected(PATTERN_WORDS[thing.pattern]) if thing.pattern else "", ""
    if rng and pattern and rng.random() < 0.35:
        pattern, with_pattern = "", PATTERN_PHRASES[language][thing.pattern]
    if rng and rng.random() < 0.3:
        size = SIZE_SYNONYMS.get(size, size)
    adjective = ""
    if color:
        spellings = spellings_of(thing.color, world)
        if rng and len(spellings) > 1 and rng.random() < 0.5:
            spellings = spellings[::-1]
        hyphen = " " if rng and rng.random() < 0.4 else "-"
        adjective = _color(thing, language, gender, several, spellings, hyphen)
    return Phrase(
        before,
        plural(word, language) if several else word,
        adjective,
        language,
        size,
        pattern,
        rng is not None and rng.random() < 0.4,
        with_pattern,
    )


def _join(relation: str, second: Phrase) -> str:
    """Join a relation and the second phrase; contract "de o" to "do" and "em o" to "no"."""
    if second.language == "pt" and second.article in ("o", "a"):
        if relation.endswith(" de"):
            return f"{relation[:-1]}{second.article} {second.core}"
        if relation == "em" or relation.endswith(" em"):
            return f"{relation[:-2]}n{second.article} {second.core}"
    return f"{relation} {second}"


def _introduce(introduction: str, text: str, first: Phrase) -> str:
    if first.article in ("o", "a") and first.language == "pt":  # "de o gato" contracts to "do gato"
        return introduction[:-2] + text
    return introduction + text


def _ground(background: str, language: str, variant: int) -> str:
    if background == "plain":
        return ""
    masculine, _, english, *_ = ADJECTIVES[background]
    if language == "pt":
        return (f" em um fundo {masculine}", f", fundo {masculine}")[variant]
    return (f" on a {english} background", f", {english} background")[variant]


def _surroundings(scene: Scene, language: str, rng: Random | None) -> list[str]:
    """Return one phrase each for the place, weather and light of a scene."""

    def one_of(ways: tuple[str, ...]) -> str:
        return rng.choice(ways) if rng else ways[0]

    said = []
    if scene.place in PLACE_WORDS[language]:
        said.append(one_of(PLACE_WORDS[language][scene.place]))
    if scene.weather:
        said.append(one_of(WEATHER_WORDS[language][scene.weather][scene.amount - 1]))
    if scene.light:
        said.append(one_of(LIGHT_WORDS[language][scene.light]))
    return said


def _sentence(scene: Scene, phrases: list[Phrase], language: str, relation: str) -> str:
    first = phrases[0]
    conjunction = "e" if language == "pt" else "and"
    if scene.relation == MIRROR:
        if language == "en":
            return f"{first} and its reflection in the water"
        return f"{first} e seu reflexo na água"
    if scene.relation == RIDE:
        horse = phrases[1]
        if language == "en":
            return f"{first} riding {horse}"
        return f"{first} {_join('montado em' if horse.article else 'a', horse)}"
    if len(phrases) == 1:
        return str(first)
    if len(phrases) == 2:
        return f"{first} {_join(relation, phrases[1])}"
    if scene.relation:
        return f"{first} {_join(relation, phrases[1])} {conjunction} {phrases[2]}"
    return f"{first}, {phrases[1]} {conjunction} {phrases[2]}"


def plainly(scene: Scene, language: str) -> str:
    """Return the default caption of a scene: first nouns, indefinite articles, all colors."""
    phrases = [phrase(scene.things[group.start], language, count=len(group)) for group in scene.groups]
    if scene.relation == RIDE and language == "pt":
        phrases[1] = phrase(scene.things[1], language, article=2)
    relation = RELATION_WORDS[language].get(scene.relation, ("",))[0]
    text = _sentence(scene, phrases, language, relation) + _ground(scene.background, language, 0)
    return " ".join([text, *_surroundings(scene, language, None)])


def caption(scene: Scene, rng: Random, language: str | None = None, world: World = WHOLE) -> str:
    """Sample a caption of a scene: random language, synonyms and articles; colors or ground may be omitted.

    Args:
        scene: scene to describe; it must belong to `world`.
        rng: random generator.
        language: "pt" or "en"; None samples one.
        world: world whose words are allowed.
    """
    language = language or rng.choice(LANGUAGES)
    colored = rng.random() > COLORLESS
    if colored and rng.random() < 0.4:
        return plainly(scene, language)
    article = rng.choices((0, 1, 2), (5, 2, 2))[0]
    groups = scene.groups
    phrases = [
        phrase(
            scene.things[group.start],
            language,
            noun=rng.choice((0, 0, 1)),
            article=article if article != 2 or index == 0 or len(groups) > 2 else 0,
            color=colored and rng.random() > 0.12,
            count=len(group),
            rng=rng,
            world=world,
        )
        for index, group in enumerate(groups)
    ]
    if scene.relation == RIDE and language == "pt" and rng.random() < 0.6:
        phrases[1] = phrase(scene.things[1], language, article=2, color=colored and rng.random() > 0.3)
    relation = rng.choice(RELATION_WORDS[language].get(scene.relation, ("",)))
    text = _sentence(scene, phrases, language, relation)
    if rng.random() < 0.15:
        text = _introduce(rng.choice(INTRODUCTIONS[language]), text, phrases[0])
    if rng.random() < 0.9:
        text += _ground(scene.background, language, rng.randrange(2))
    around = [said for said in _surroundings(scene, language, rng) if rng.random() < 0.92]
    rng.shuffle(around)
    if around and rng.random() < 0.2:
        return f"{around[0]}, {' '.join([text, *around[1:]])}"
    return (", " if rng.random() < 0.3 else " ").join([text, *around])
