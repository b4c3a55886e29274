"""Lexicon of the built-in world in Portuguese and English: nouns, adjectives, numbers, relations, places."""

from __future__ import annotations

from promptweight.mini.backdrops import (
    BEACH,
    CITY,
    DAY,
    DUSK,
    FIELD,
    NIGHT,
    RAIN,
    ROOM,
    SNOW,
    SNOWFALL,
    SPACE,
)
from promptweight.mini.painting import SPOTTED, STRIPED
from promptweight.mini.palette import DARK, LIGHT
from promptweight.mini.scenes import (
    ABOVE,
    BELOW,
    BESIDE,
    BIG,
    CHASE,
    HOLD,
    HUGE,
    IN,
    LEFT,
    MANY,
    ON,
    RIGHT,
    SMALL,
    TINY,
    WEAR,
)

LANGUAGES = ("pt", "en")
"""Languages of captions: Portuguese and English."""

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
    "dog": ("m", ("cachorro", "cão"), ("dog", "puppy")),
    "bird": ("m", ("pássaro", "passarinho"), ("bird",)),
    "rabbit": ("m", ("coelho", "coelhinho"), ("rabbit", "bunny")),
    "butterfly": ("f", ("borboleta",), ("butterfly",)),
    "flower": ("f", ("flor",), ("flower",)),
    "mushroom": ("m", ("cogumelo",), ("mushroom",)),
    "moon": ("f", ("lua",), ("moon",)),
    "cloud": ("f", ("nuvem",), ("cloud",)),
    "apple": ("f", ("maçã",), ("apple",)),
    "banana": ("f", ("banana",), ("banana",)),
    "boat": ("m", ("barco", "barquinho"), ("boat", "sailboat")),
    "bicycle": ("f", ("bicicleta",), ("bicycle", "bike")),
    "airplane": ("m", ("avião",), ("airplane", "plane")),
    "rocket": ("m", ("foguete",), ("rocket",)),
    "castle": ("m", ("castelo",), ("castle",)),
    "hat": ("m", ("chapéu",), ("hat",)),
    "ball": ("f", ("bola",), ("ball",)),
    "umbrella": ("m", ("guarda-chuva",), ("umbrella",)),
    "cup": ("f", ("xícara", "caneca"), ("cup", "mug")),
    "book": ("m", ("livro",), ("book",)),
}
"""Gender, Portuguese nouns and English nouns by kind; the first noun of each language is the default."""
ADJECTIVES: dict[str, tuple[str, ...]] = {
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
    "gray": ("cinza", "cinza", "grey", "gray"),
}
"""Colors: the masculine and the feminine Portuguese adjective, and the English ones."""
INVARIABLE = ("laranja", "rosa", "cinza")  # nouns as colors: not inflected, also with a shade
# degree or pattern: (masculine, feminine, English words); the first English word is the default
SHADE_WORDS: dict[str, tuple[str, str, str]] = {
    LIGHT: ("claro", "clara", "light"),
    DARK: ("escuro", "escura", "dark"),
}
SIZE_WORDS: dict[str, tuple[str, str, str]] = {
    TINY: ("minúsculo", "minúscula", "tiny"),
    SMALL: ("pequeno", "pequena", "small"),
    BIG: ("grande", "grande", "big"),
    HUGE: ("enorme", "enorme", "huge"),
}
SIZE_SYNONYMS = {"small": "little", "big": "large"}
PATTERN_WORDS: dict[str, tuple[str, str, str]] = {
    STRIPED: ("listrado", "listrada", "striped"),
    SPOTTED: ("malhado", "malhada", "spotted"),
}
PATTERN_PHRASES: dict[str, dict[str, str]] = {
    "pt": {STRIPED: "com listras", SPOTTED: "com bolinhas"},
    "en": {STRIPED: "with stripes", SPOTTED: "with dots"},
}
# number: (masculine, feminine, English)
NUMBER_WORDS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "1": (("um", "uma", "one"),),
    "2": (("dois", "duas", "two"),),
    "3": (("três", "três", "three"),),
    MANY: (("muitos", "muitas", "many"), ("vários", "várias", "several")),
}
# relations that end in "de" or "em" contract with the following article
RELATION_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "pt": {
        LEFT: ("à esquerda de",),
        RIGHT: ("à direita de",),
        ABOVE: ("acima de",),
        BELOW: ("abaixo de", "embaixo de"),
        BESIDE: ("ao lado de", "junto de"),
        CHASE: ("persegue", "perseguindo", "correndo atrás de"),
        WEAR: ("usando", "vestindo"),
        HOLD: ("segurando", "carregando"),
        ON: ("em cima de", "sobre"),
        IN: ("dentro de", "em"),
        "": ("e", "com"),
    },
    "en": {
        LEFT: ("to the left of", "left of"),
        RIGHT: ("to the right of", "right of"),
        ABOVE: ("above", "over"),
        BELOW: ("below", "under"),
        BESIDE: ("next to", "beside"),
        CHASE: ("chases", "chasing", "running after"),
        WEAR: ("wearing",),
        HOLD: ("holding", "carrying"),
        ON: ("on", "on top of"),
        IN: ("in", "inside"),
        "": ("and", "with"),
    },
}
"""Words of each relation, by language and relation; the first entry is the default."""

PLACE_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "pt": {
        BEACH: ("na praia", "em uma praia"),
        FIELD: ("no campo", "em um campo", "na grama"),
        SNOW: ("na neve",),
        SPACE: ("no espaço",),
        CITY: ("na cidade", "em uma cidade", "na rua"),
        ROOM: ("em um quarto", "no quarto", "na sala"),
    },
    "en": {
        BEACH: ("on the beach", "on a beach", "at the beach"),
        FIELD: ("in a field", "in the field", "on the grass"),
        SNOW: ("in the snow", "on the snow"),
        SPACE: ("in space", "in outer space"),
        CITY: ("in the city", "in a city", "on the street"),
        ROOM: ("in a room", "in the room", "indoors"),
    },
}
# weather: phrases for light, normal and heavy
WEATHER_WORDS: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "pt": {
        RAIN: (
            ("com chuva fraca", "com um pouco de chuva"),
            ("na chuva", "com chuva", "chovendo"),
            ("com chuva forte", "com muita chuva"),
        ),
        SNOWFALL: (
            ("nevando pouco", "com um pouco de neve caindo"),
            ("nevando", "com neve caindo"),
            ("nevando muito", "com muita neve caindo"),
        ),
    },
    "en": {
        RAIN: (
            ("in light rain", "with a little rain"),
            ("in the rain", "with rain", "raining"),
            ("in heavy rain", "with a lot of rain"),
        ),
        SNOWFALL: (
            ("snowing a little", "in light snowfall"),
            ("snowing", "with falling snow"),
            ("snowing heavily", "in heavy snowfall"),
        ),
    },
}
LIGHT_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "pt": {
        DAY: ("de dia", "durante o dia"),
        DUSK: ("ao entardecer", "no fim da tarde"),
        NIGHT: ("à noite", "de noite"),
    },
    "en": {
        DAY: ("by day", "during the day"),
        DUSK: ("at dusk", "in the evening"),
        NIGHT: ("at night", "by night"),
    },
}
INTRODUCTIONS = {
    "pt": ("desenho de ", "um desenho de ", "imagem de "),
    "en": ("drawing of ", "a drawing of ", "picture of "),
}
ARTICLES = {"m": ("um", "o"), "f": ("uma", "a")}
_PLURALS = {
    "cão": "cães",
    "sol": "sóis",
    "automóvel": "automóveis",
    "azul": "azuis",
    "guarda-chuva": "guarda-chuvas",
    "mouse": "mice",
    "fish": "fish",
    "pony": "ponies",
    "puppy": "puppies",
    "bunny": "bunnies",
    "butterfly": "butterflies",
}


def plural(word: str, language: str) -> str:
    """Return the plural of a noun, or of a Portuguese adjective, of the built-in world.

    >>> [plural(word, "pt") for word in ("gato", "flor", "avião", "marrom", "cinza")]
    ['gatos', 'flores', 'aviões', 'marrons', 'cinza']
    """
    if word in _PLURALS:
        return _PLURALS[word]
    if language == "en":
        return word + ("es" if word.endswith(("s", "sh", "ch", "x")) else "s")
    if word in INVARIABLE:
        return word
    if word.endswith("ão"):
        return word[:-2] + "ões"
    if word.endswith("m"):
        return word[:-1] + "ns"
    return word + ("es" if word.endswith(("r", "z")) else "s")
