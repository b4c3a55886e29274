"""Tests of captions: grammar in Portuguese and English, compared with reference sentences."""

from dataclasses import replace
from random import Random

import pytest

from promptweight.mini.captions import LANGUAGES, NOUNS, caption, phrase, plainly
from promptweight.mini.lexicon import plural
from promptweight.mini.sampling import sample_scene
from promptweight.mini.scenes import KINDS, Scene, Thing, random_scene
from promptweight.mini.worlds import WHOLE

CAT, MOUSE = Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)
HOUSE, STAR = Thing("house", "red", 4, 4, 24), Thing("star", "black", 4, 36, 24)


@pytest.mark.parametrize(
    ("scene", "portuguese", "english"),
    [
        (
            Scene((CAT, MOUSE), relation="chase"),
            "um gato vermelho persegue um rato cinza",
            "a red cat chases a grey mouse",
        ),
        (
            Scene((HOUSE, STAR), relation="above"),
            "uma casa vermelha acima de uma estrela preta",
            "a red house above a black star",
        ),
        (Scene((HOUSE,), "blue"), "uma casa vermelha em um fundo azul", "a red house on a blue background"),
        (
            Scene(
                (Thing("astronaut", "blue", 16, 12, 24), Thing("horse", "white", 12, 20, 40)), relation="ride"
            ),
            "um astronauta azul a cavalo branco",
            "a blue astronaut riding a white horse",
        ),
        (
            Scene((CAT,), relation="mirror"),
            "um gato vermelho e seu reflexo na água",
            "a red cat and its reflection in the water",
        ),
        (
            Scene((CAT, HOUSE, STAR)),
            "um gato vermelho, uma casa vermelha e uma estrela preta",
            "a red cat, a red house and a black star",
        ),
        (Scene((Thing("tree", "orange", 4, 4, 40),)), "uma árvore laranja", "an orange tree"),
    ],
)
def test_plain_sentences(scene: Scene, portuguese: str, english: str) -> None:
    assert plainly(scene, "pt") == portuguese
    assert plainly(scene, "en") == english


def test_colors_agree_with_the_gender_of_the_noun() -> None:
    endings = {
        "m": {"vermelho", "amarelo", "roxo", "preto", "branco"},
        "f": {"vermelha", "amarela", "roxa", "preta", "branca"},
    }
    for kind in KINDS:
        gender = NOUNS[kind][0]
        for color in ("red", "yellow", "purple", "black", "white"):
            said = phrase(Thing(kind, color, 0, 0, 24), "pt")
            assert said.adjective in endings[gender]
            assert said.article == ("um" if gender == "m" else "uma")


def test_random_captions_contract_articles_and_never_double_spaces() -> None:
    rng = Random(1)
    texts = {caption(random_scene(rng), rng) for _ in range(3000)}
    assert len(texts) > 2000
    for text in texts:
        assert text == " ".join(text.split())
        for wrong in (" de o ", " de a ", " a a ", " a o ", " a orange ", " an red "):
            assert wrong not in f" {text} ", text
    assert any(" do " in text for text in texts)
    assert any(" da " in text for text in texts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_caption_names_every_thing(language: str) -> None:
    rng = Random(2)
    for _ in range(300):
        scene = random_scene(rng)
        text = caption(scene, rng, language)
        for thing in scene.things:
            assert any(noun in text for noun in NOUNS[thing.kind][1 if language == "pt" else 2]), (
                scene,
                text,
            )


@pytest.mark.parametrize(
    ("scene", "portuguese", "english"),
    [
        (
            Scene((Thing("house", "blue", 4, 20, 24, "dark", "striped", "big"),)),
            "uma casa azul-escura listrada grande",
            "a big striped dark blue house",
        ),
        (
            Scene((Thing("mouse", "gray", 4, 20, 24, "light", "", "tiny"),), light="night"),
            "um rato cinza-claro minúsculo à noite",
            "a tiny light grey mouse at night",
        ),
        (
            Scene((Thing("flower", "red", 4, 4, 24), Thing("flower", "red", 36, 4, 24))),
            "duas flores vermelhas",
            "two red flowers",
        ),
        (
            Scene(tuple(Thing("butterfly", "brown", x, 4, 16) for x in (4, 24, 44)), place="beach"),
            "três borboletas marrons na praia",
            "three brown butterflies on the beach",
        ),
        (
            Scene(
                tuple(Thing("airplane", "green", x, y, 16, "light") for x in (4, 24, 44) for y in (4, 24, 44))
            ),
            "muitos aviões verde-claros",
            "many light green airplanes",
        ),
        (
            Scene((CAT, replace(CAT, x=36), HOUSE)),
            "dois gatos vermelhos e uma casa vermelha",
            "two red cats and a red house",
        ),
        (
            Scene((CAT, Thing("hat", "black", 4, 4, 16), MOUSE), relation="wear"),
            "um gato vermelho usando um chapéu preto e um rato cinza",
            "a red cat wearing a black hat and a grey mouse",
        ),
        (
            Scene((CAT, Thing("umbrella", "pink", 4, 4, 16)), relation="hold", weather="rain", amount=3),
            "um gato vermelho segurando um guarda-chuva rosa com chuva forte",
            "a red cat holding a pink umbrella in heavy rain",
        ),
        (
            Scene((MOUSE, Thing("cup", "yellow", 4, 4, 40)), relation="in", place="room"),
            "um rato cinza dentro de uma xícara amarela em um quarto",
            "a grey mouse in a yellow cup in a room",
        ),
        (
            Scene((CAT, HOUSE), relation="on", place="snow", weather="snowfall", amount=1),
            "um gato vermelho em cima de uma casa vermelha na neve nevando pouco",
            "a red cat on a red house in the snow snowing a little",
        ),
    ],
)
def test_plain_sentences_of_the_whole_world(scene: Scene, portuguese: str, english: str) -> None:
    assert plainly(scene, "pt") == portuguese
    assert plainly(scene, "en") == english


def test_captions_of_the_whole_world_agree_and_contract() -> None:
    rng = Random(9)
    texts = {caption(sample_scene(rng, WHOLE), rng) for _ in range(4000)}
    assert len(texts) > 3500
    for text in texts:
        assert text == " ".join(text.split())
        for wrong in (
            "de o",
            "de a",
            "em o",
            "em a",
            "a orange",
            "an red",
            "dois uma",
            "many cat",
            "duas gatos",
        ):
            assert f" {wrong} " not in f" {text} ", text
    for said in (" no barco", " em uma xícara", "do castelo", "listras", "with dots", "gray", "grey", "one "):
        assert any(said in text for text in texts), said


@pytest.mark.parametrize(
    ("language", "words", "plurals"),
    [
        (
            "pt",
            "gato flor sol coração nuvem maçã chapéu guarda-chuva cão avião árvore azul marrom roxa rosa",
            "gatos flores sóis corações nuvens maçãs chapéus guarda-chuvas cães aviões árvores azuis marrons "
            "roxas rosa",
        ),
        (
            "en",
            "cat mouse fish butterfly pony bunny bike house disc",
            "cats mice fish butterflies ponies bunnies bikes houses discs",
        ),
    ],
)
def test_plurals(language: str, words: str, plurals: str) -> None:
    assert [plural(word, language) for word in words.split()] == plurals.split()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_place_weather_and_light_is_said_in_words_of_its_own(language: str) -> None:
    base = Scene((CAT,))
    around = [Scene((CAT,), place=place) for place in WHOLE.places]
    around += [Scene((CAT,), weather=w, amount=amount) for w in WHOLE.weathers for amount in (1, 2, 3)]
    around += [Scene((CAT,), light=light) for light in WHOLE.lights]
    said = [plainly(scene, language) for scene in (base, *around)]
    assert len(set(said)) == len(said)
    assert all(text.startswith(said[0]) for text in said)
