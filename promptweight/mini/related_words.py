"""Related words: common prompt words mapped to the nearest objects of the built-in world.

They provide suggestions for words that a model is not trained on.
"""

from __future__ import annotations

from functools import cache

from promptweight.mini import lexicon

# nearest kinds, and the words in both languages that they replace
RELATED: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("astronaut",),
        "person people man woman boy girl child kid baby lady guy human portrait face selfie hero knight "
        "king queen princess wizard robot doll pessoa pessoas homem mulher menino menina garoto garota "
        "criança bebê moça rapaz humano retrato rosto herói cavaleiro rei rainha princesa mago robô boneca",
    ),
    (("cat",), "lion tiger leopard panther kitty leão tigre onça leopardo pantera felino"),
    (("dog", "cat"), "wolf fox bear hound panda lobo raposa urso cadela cachorra panda"),
    (
        ("horse", "dog"),
        "cow bull sheep goat deer donkey zebra unicorn vaca boi ovelha cabra veado burro zebra unicórnio",
    ),
    (("mouse", "rabbit"), "hamster squirrel hare hedgehog esquilo lebre camundongo ouriço"),
    (
        ("bird",),
        "duck chicken eagle owl parrot penguin swan pato galinha águia coruja papagaio pinguim cisne ave",
    ),
    (("butterfly", "bird"), "bee insect moth dragonfly abelha inseto mariposa libélula joaninha"),
    (("fish",), "shark whale dolphin turtle tubarão baleia golfinho tartaruga"),
    (("tree", "flower"), "plant forest leaf grass bush palm planta floresta folha mato arbusto palmeira"),
    (("flower",), "rose tulip daisy sunflower tulipa margarida girassol orquídea"),
    (
        ("apple", "banana"),
        "fruit pear lemon strawberry cherry grape fruta pera limão morango cereja uva manga",
    ),
    (("cup",), "glass bottle bowl coffee tea copo garrafa tigela café chá"),
    (("car", "bicycle"), "truck bus train motorcycle taxi van caminhão ônibus trem moto motocicleta táxi"),
    (("boat",), "ship yacht canoe navio iate canoa lancha"),
    (("airplane", "rocket"), "helicopter jet spaceship drone helicóptero jato nave drone"),
    (
        ("house", "castle"),
        "building tower church temple palace bridge prédio torre igreja templo palácio ponte",
    ),
    (("sun", "star", "moon"), "planet earth sky comet planeta terra céu cometa"),
    (("circle", "square", "triangle"), "shape ring cube sphere line dot forma anel cubo esfera linha ponto"),
    (("heart",), "love amor paixão"),
    (("book",), "page magazine letter newspaper página revista carta jornal caderno"),
    (("hat",), "cap helmet crown boné capacete coroa"),
    (("ball",), "balloon soccer football balão futebol"),
)


@cache
def _stand_ins() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    groups: list[tuple[str, ...]] = []
    for kinds, words in RELATED:
        found |= {word: kinds for word in words.split() if word not in found}
        groups.append(kinds)
    for kind, (_, *nouns) in lexicon.NOUNS.items():
        near = [other for group in groups if kind in group for other in group if other != kind]
        for noun in (noun for language in nouns for noun in language):
            for word, language in ((noun, "pt"), (noun, "en")):
                names = {word, lexicon.plural(word, language)}
                found |= {name: (kind, *near) for name in names if name not in found}
    return found


def stand_ins(word: str) -> tuple[str, ...]:
    """Return the object kinds nearest in meaning to a word, nearest first; empty for most words.

    >>> stand_ins("tigre")
    ('cat',)
    """
    return _stand_ins().get(word, ())
