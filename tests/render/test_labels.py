"""Label text: glyph coverage, accents, fitting to a width and cleaning."""

import pytest

from promptweight.render import labels


@pytest.mark.parametrize("letter", "ãõçéáíóúâêôàüñßøłžřőşğ×–…“”ΑΩжЯệ")
def test_font_contains_letter(letter):
    missing = (
        labels.load_font(40).getmask("\U0010fffd").getbbox(),
        bytes(labels.load_font(40).getmask("\U0010fffd")),
    )
    drawn = labels.load_font(40).getmask(letter)
    assert drawn.getbbox() is not None
    assert (drawn.getbbox(), bytes(drawn)) != missing


def test_font_accents_extend_beyond_base_letter():
    assert labels.load_font(40).getbbox("ã")[1] < labels.load_font(40).getbbox("a")[1]
    assert labels.load_font(40).getbbox("ç")[3] > labels.load_font(40).getbbox("c")[3]


def test_fit_text_returns_longest_prefix_that_fits():
    whole = "um gato vermelho persegue um rato cinza"
    for room in range(0, labels.measure_text(whole, 20) + 5, 7):
        shown = labels.fit_text(whole, 20, room)
        assert labels.measure_text(shown, 20) <= room
        if shown != whole and shown:
            longer = whole[: len(shown)].rstrip() + "…"
            assert labels.measure_text(longer, 20) > room or longer == shown
    assert labels.fit_text(whole, 20, 10_000) == whole


def test_clean_text_is_one_line_without_control_characters():
    assert labels.clean_text("um\ngato\t\ud800 \x00x") == "um gato \ufffd x"
