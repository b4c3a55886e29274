"""Residuals of words at weight 0: samples on the built-in model, and the section of a report."""

import pytest

from promptweight.evaluation.prompt_fidelity import held_out_scenes
from promptweight.evaluation.report.reach_section import build_reach_section
from promptweight.evaluation.weight_reach import ReachSample, measure_residuals
from promptweight.generation import measure_reach
from promptweight.mini import phrase, plainly
from promptweight.models import load
from promptweight.weighting import Weighting


def test_residuals_are_those_of_measure_reach_for_every_word_and_language():
    pipe = load("mini")
    scenes = list(held_out_scenes(1, 2, False, 3))
    weightings = [Weighting("presence"), Weighting("attention")]
    samples = measure_residuals(pipe, scenes, weightings, seed=5, steps=4)
    parts = ["noun", "color", "phrase"]
    keys = [(each.language, each.weighting, each.part) for each in samples]
    assert keys == [
        (lang, name, part) for lang in ("pt", "en") for name in map(str, weightings) for part in parts
    ]
    found = {key: each.residual for key, each in zip(keys, samples, strict=True)}
    noun = phrase(scenes[0].things[0], "en").noun
    settings = {"weighting": "attention", "seed": 5, "num_inference_steps": 4}
    expected = measure_reach(pipe, plainly(scenes[0], "en"), phrases=[noun], **settings)
    assert found["en", "attention", "noun"] == pytest.approx(expected.phrases[0].residual, abs=1e-5)
    for language in ("pt", "en"):
        for part in parts:
            assert found[language, "presence", part] < 0.1 < found[language, "attention", part]


def test_section_has_the_mean_of_each_word_and_language():
    samples = [
        ReachSample(scene, name, language, part, value)
        for name, value in (("presence", 0.02), ("attention", 0.9))
        for scene in range(3)
        for language in ("pt", "en")
        for part in ("noun", "color", "phrase")
    ]
    samples[0] = ReachSample(0, "presence", "pt", "noun", 0.32)
    section = build_reach_section(samples)
    (table,) = section.tables
    assert table.columns[:3] == ("weighting", "noun, pt", "noun, en")
    first, second = table.rows
    assert [mean.value for mean in first[1:3]] == pytest.approx([0.12, 0.02])
    assert second[0] == "attention"
    (metric,) = section.metrics
    assert (metric.value, metric.samples, metric.met) == (pytest.approx(0.12), 3, False)
