"""Color scales of heat maps: the test vectors of the JavaScript, and the overlays and HTML of a result."""

import re

import pytest
from PIL import Image

from promptweight import generate
from promptweight.render import comparable_scales, overlay, render_hover_html
from tests.ui.heat_vectors import PATH, format_vectors


def test_heat_vectors_file_is_up_to_date():
    """The numbers are equal up to the rounding of float32, which differs between processors."""

    def split(text):
        number = r"-?[0-9]+\.[0-9]+(?:e-?[0-9]+)?"
        return re.sub(number, "0", text), [float(each) for each in re.findall(number, text)]

    (text, numbers), (expected_text, expected) = map(
        split, (PATH.read_text(encoding="utf-8"), format_vectors())
    )
    assert text == expected_text, "run: python tests/ui/heat_vectors.py"
    assert numbers == pytest.approx(expected, abs=1e-6), "run: python tests/ui/heat_vectors.py"


def test_result_and_notebook_scale_words_as_the_app_does(tiny_pipe, tmp_path):
    result = generate(tiny_pipe, "um (gato:1.4), aa", seed=3, num_inference_steps=2)
    words = [word for word in result.words if not word.is_punctuation]
    heats = [result.maps.word(word.text, word.occurrence).tensor for word in words]
    scales = comparable_scales([(float(heat.min()), float(heat.max())) for heat in heats])
    files = result.save(tmp_path, overlays=[word.text for word in words])
    for word, heat, scale, file in zip(words, heats, scales, files[1:4], strict=True):
        expected = overlay(result.images[0], heat, label=word.text, weight=word.weight, scale=scale)
        assert Image.open(file).convert("RGB").tobytes() == expected.tobytes()
    pairs = [(word.text, heat) for word, heat in zip(words, heats, strict=True)]
    assert result.maps._repr_html_() == render_hover_html(pairs)
