"""Localization of words: one sample per word, and the summary by language and part."""

import pytest

from promptweight.evaluation.localization import PARTS, VIEWS, WordSample, measure_words, summarize_words


def test_measure_words_yields_every_language_level_object_part_and_view(mini):
    samples = list(measure_words(mini, number=1, seed=3, timesteps=(300, 500)))
    objects = samples[0].objects
    assert len(samples) == 2 * 2 * objects * len(PARTS) * len(VIEWS)
    assert {sample.language for sample in samples} == {"pt", "en"}
    assert {sample.timestep for sample in samples} == {300, 500}
    assert all(0 <= sample.iou <= 1 for sample in samples)
    assert not any(sample.hit and sample.astray for sample in samples)


def test_summarize_words_counts_astray_maps_of_pairs_only():
    samples = [
        WordSample("pt", "phrase", 300, 2, 0.6, False, True),
        WordSample("pt", "phrase", 300, 2, 0.8, True, False),
        WordSample("pt", "phrase", 300, 1, 1.0, True, False),
        WordSample("pt", "phrase", 300, 1, 0.1, False, False, "traced"),
    ]
    assert summarize_words(samples)["pt phrase, traced"]["iou"].value == pytest.approx(0.1)
    row = summarize_words(samples)["pt phrase"]
    assert row["iou"].value == pytest.approx(0.8)
    assert (row["pointing"].hits, row["pointing"].count) == (2, 3)
    assert (row["astray"].hits, row["astray"].count) == (1, 2)
