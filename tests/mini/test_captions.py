"""Captions: grammar in both languages, checked against sentences written by hand."""

from random import Random

import pytest

from promptweight.mini.captions import LANGUAGES, NOUNS, caption, phrase, plainly
from promptweight.mini.scenes import KINDS, Scene, Thing, random_scene

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
