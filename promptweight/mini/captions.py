"""Says what is in a scene, in Portuguese and in English.

Portuguese agrees in gender (*uma casa vermelha*, *um carro vermelho*) and contracts its articles
(*à esquerda do gato*). The same scene can be said in many ways; `caption` draws one of them:

>>> from random import Random
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

from promptweight.mini.scenes import ABOVE, BELOW, BESIDE, CHASE, LEFT, RIGHT, Scene, Thing

LANGUAGES = ("pt", "en")

# kind: (gender, Portuguese nouns, English nouns); the first noun of each is the plain one
NOUNS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "cat": ("m", ("gato", "gatinho"), ("cat", "kitten")),
    "mouse": ("m", ("rato", "ratinho"), ("mouse", "rat")),
    "house": ("f", ("casa", "casinha"), ("house", "home")),
    "tree": ("f", ("árvore",), ("tree",)),
    "sun": ("m", ("sol",), ("sun",)),
    "car": ("m", ("carro", "automóvel"), ("car", "automobile")),
    "fish": ("m", ("peixe", "peixinho"), ("fish",)),
    "star": ("f", ("estrela",), ("star",)),
    "heart": ("m", ("coração",), ("heart",)),
    "circle": ("m", ("círculo",), ("circle", "disc")),
    "square": ("m", ("quadrado",), ("square",)),
    "triangle": ("m", ("triângulo",), ("triangle",)),
    "astronaut": ("m", ("astronauta",), ("astronaut",)),
    "horse": ("m", ("cavalo", "cavalinho"), ("horse", "pony")),
}
# color: (masculine, feminine, English)
ADJECTIVES: dict[str, tuple[str, str, str]] = {
    "red": ("vermelho", "vermelha", "red"),
    "orange": ("laranja", "laranja", "orange"),
    "yellow": ("amarelo", "amarela", "yellow"),
    "green": ("verde", "verde", "green"),
    "blue": ("azul", "azul", "blue"),
    "purple": ("roxo", "roxa", "purple"),
    "pink": ("rosa", "rosa", "pink"),
    "brown": ("marrom", "marrom", "brown"),
    "black": ("preto", "preta", "black"),
    "white": ("branco", "branca", "white"),
    "gray": ("cinza", "cinza", "grey"),
}
# {of} joins the relation to the second thing: "de" contracts with the article that follows
RELATION_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "pt": {
        LEFT: ("à esquerda de",),
        RIGHT: ("à direita de",),
        ABOVE: ("acima de", "em cima de"),
        BELOW: ("abaixo de", "embaixo de"),
        BESIDE: ("ao lado de", "junto de"),
        CHASE: ("persegue", "perseguindo", "correndo atrás de"),
        "": ("e", "com"),
    },
    "en": {
        LEFT: ("to the left of", "left of"),
        RIGHT: ("to the right of", "right of"),
        ABOVE: ("above", "over"),
        BELOW: ("below", "under"),
        BESIDE: ("next to", "beside"),
        CHASE: ("chases", "chasing", "running after"),
        "": ("and", "with"),
    },
}
INTRODUCTIONS = {
    "pt": ("desenho de ", "um desenho de ", "imagem de "),
    "en": ("drawing of ", "a drawing of ", "picture of "),
}
COLORLESS = 0.3  # share of captions that name no color, so that nouns must speak for themselves
ARTICLES = {"m": ("um", "o"), "f": ("uma", "a")}


@dataclass(frozen=True)
class Phrase:
    """A noun phrase: what stands before the noun and color in reading order, and the words themselves."""

    article: str
    noun: str
    adjective: str
    language: str

    @property
    def core(self) -> str:
        """Noun and color in the order of the language: "gato vermelho", "red cat"."""
        words = (self.noun, self.adjective) if self.language == "pt" else (self.adjective, self.noun)
        return " ".join(word for word in words if word)

    def __str__(self) -> str:
        article = self.article
        if article == "a" and self.language == "en" and self.core[0] in "aeiou":
            article = "an"
        return f"{article} {self.core}".strip()


def phrase(thing: Thing, language: str, *, noun: int = 0, article: int = 0, color: bool = True) -> Phrase:
    """Names a thing: `noun` picks a synonym, `article` 0 is indefinite, 1 definite, 2 none."""
    gender, portuguese, english = NOUNS[thing.kind]
    masculine, feminine, english_adjective = ADJECTIVES[thing.color]
    if language == "pt":
        adjective = masculine if gender == "m" else feminine
        articles, nouns = (*ARTICLES[gender], ""), portuguese
    else:
        adjective, articles, nouns = english_adjective, ("a", "the", ""), english
    return Phrase(articles[article], nouns[noun % len(nouns)], adjective if color else "", language)


def _join(relation: str, second: Phrase) -> str:
    """Joins relation and second phrase, contracting "de o" to "do" and "de um" staying as it is."""
    if relation.endswith(" de") and second.article in ("o", "a") and second.language == "pt":
        return f"{relation[:-1]}{second.article} {second.core}"
    return f"{relation} {second}"


def _introduce(introduction: str, text: str, first: Phrase) -> str:
    if first.article in ("o", "a") and first.language == "pt":  # "de o gato" is said "do gato"
        return introduction[:-2] + text
    return introduction + text


def _ground(background: str, language: str, variant: int) -> str:
    if background == "plain":
        return ""
    masculine, _, english = ADJECTIVES[background]
    if language == "pt":
        return (f" em um fundo {masculine}", f", fundo {masculine}")[variant]
    return (f" on a {english} background", f", {english} background")[variant]


def _sentence(scene: Scene, phrases: list[Phrase], language: str, relation: str) -> str:
    first = phrases[0]
    if scene.relation == "mirror":
        if language == "en":
            return f"{first} and its reflection in the water"
        return f"{first} e seu reflexo na água"
    if scene.relation == "ride":
        horse = phrases[1]
        if language == "en":
            return f"{first} riding {horse}"
        mount = horse.core if horse.article == "" else str(horse)
        return f"{first} {'a' if horse.article == '' else 'montado em'} {mount}"
    if len(phrases) == 1:
        return str(first)
    if len(phrases) == 2:
        return f"{first} {_join(relation, phrases[1])}"
    conjunction = "e" if language == "pt" else "and"
    return f"{first}, {phrases[1]} {conjunction} {phrases[2]}"


def plainly(scene: Scene, language: str) -> str:
    """Says the scene in its plainest words: first nouns, indefinite articles, every color."""
    phrases = [phrase(thing, language) for thing in scene.things]
    if scene.relation == "ride" and language == "pt":
        phrases[1] = phrase(scene.things[1], language, article=2)
    relation = RELATION_WORDS[language].get(scene.relation, ("",))[0]
    return _sentence(scene, phrases, language, relation) + _ground(scene.background, language, 0)


def caption(scene: Scene, rng: Random, language: str | None = None) -> str:
    """Says the scene at random: language, synonyms, articles, sometimes a color or the ground left out."""
    language = language or rng.choice(LANGUAGES)
    colored = rng.random() > COLORLESS
    if colored and rng.random() < 0.5:
        return plainly(scene, language)
    article = rng.choices((0, 1, 2), (5, 2, 2))[0]
    phrases = [
        phrase(
            thing,
            language,
            noun=rng.choice((0, 0, 1)),
            article=article if article != 2 or index == 0 or len(scene.things) > 2 else 0,
            color=colored and rng.random() > 0.12,
        )
        for index, thing in enumerate(scene.things)
    ]
    if scene.relation == "ride" and language == "pt" and rng.random() < 0.6:
        phrases[1] = phrase(scene.things[1], language, article=2, color=colored and rng.random() > 0.3)
    relation = rng.choice(RELATION_WORDS[language].get(scene.relation, ("",)))
    text = _sentence(scene, phrases, language, relation)
    if rng.random() < 0.15:
        text = _introduce(rng.choice(INTRODUCTIONS[language]), text, phrases[0])
    if rng.random() < 0.9:
        text += _ground(scene.background, language, rng.randrange(2))
    return text
