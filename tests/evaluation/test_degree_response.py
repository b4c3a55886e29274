"""Degrees by weight: weighted captions, and degrees of rendered scenes whose size follows the weight."""

import re

import numpy as np
import pytest

from promptweight.evaluation import degree_response
from promptweight.evaluation.degree_response import (
    DegreeSample,
    area,
    count_objects,
    list_words,
    measure_degree_response,
    weight_word,
)
from promptweight.evaluation.report.degree_section import build_degree_section
from promptweight.mini.sampling import CROWD, CROWD_SIDE
from promptweight.mini.scenes import Scene, Thing, render
from promptweight.mini.worlds import FIRST, PRESENT, World

SMALL = World(
    128, ("cat", "star"), ("red", "blue"), ("plain",), (), sizes=PRESENT.sizes, numbers=PRESENT.numbers
)


@pytest.mark.parametrize(
    ("word", "language", "text"),
    [
        ("huge", "pt", "um gato vermelho (enorme:1.5)"),
        ("huge", "en", "a (huge:1.5) red cat"),
        ("tiny", "en", "a (tiny:1.5) red cat"),
        ("many", "pt", "(muitos:1.5) gatos vermelhos"),
        ("many", "en", "(many:1.5) red cats"),
    ],
)
def test_weight_is_on_the_word_of_the_degree(word, language, text):
    size, count = ("", 8) if word == "many" else (word, 1)
    thing = Thing("cat", "red", 0, 0, 0, size=size)
    assert weight_word(Scene((thing,) * count), language, word, 1.5) == text


def test_words_are_those_of_the_world():
    assert list_words(PRESENT) == ["tiny", "small", "big", "huge", "many"]
    assert list_words(FIRST) == []


def test_degrees_of_rendered_scenes():
    small, large = (render(Scene((Thing("square", "red", 8, 8, side),)), 128)[0] for side in (20, 40))
    assert area(large, "plain") / area(small, "plain") == pytest.approx(4, rel=0.1)
    assert area(np.full_like(small, 255), "plain") in (0, 1)
    crowd = Scene(tuple(Thing("star", "blue", x, y, CROWD_SIDE) for x, y in CROWD[:7]))
    assert count_objects(render(crowd, 128)[0], SMALL) == 7


def test_every_weight_is_drawn_from_the_same_noise(monkeypatch):
    drawn = []

    def draw(_pipeline, prompts, seeds, **_settings):
        drawn.append((prompts[0], list(seeds)))
        weight = float(re.search(r":([0-9.]+)\)", prompts[0])[1])
        side = 4 * round(4 + 4 * weight)
        for _ in prompts:
            yield render(Scene((Thing("cat", "red", 0, 0, side),)), 128)[0]

    monkeypatch.setattr(degree_response, "generate_images", draw)
    samples = measure_degree_response(None, SMALL, prompts=1, seeds=2, weights=(0, 1, 2))
    assert len(samples) == 5 * 2 * 3
    assert len({tuple(seeds) for _, seeds in drawn}) == 5
    rows = {row[0]: row for row in build_degree_section(samples).tables[0].rows}
    assert rows["huge"][1].value == pytest.approx(1)
    assert rows["tiny"][1].value == pytest.approx(-1)
    assert rows["many"][1].value == 0  # one object at every weight


def test_section_has_correlations_of_means_and_of_images():
    curves = {1: (1, 2, 3), 2: (1, 3, 2), 3: (5, 5, 5)}
    samples = [
        DegreeSample(prompt, "huge", 10 * prompt + seed, weight, degree)
        for prompt, degrees in curves.items()
        for seed in range(2)
        for weight, degree in zip((0, 1, 2), degrees, strict=True)
    ]
    section = build_degree_section(samples)
    by_prompt, by_image = section.metrics
    assert by_prompt.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert by_prompt.samples == 3
    assert by_image.value == pytest.approx(0.5)
    assert by_image.samples == 6
    assert [cell.value for cell in section.tables[0].rows[0][3:]] == pytest.approx([0.7, 1, 1])
