"""Faithfulness: the effect of a removed word, and samples of every view and ablation."""

import torch

from promptweight.evaluation.faithfulness import (
    ABLATIONS,
    MAP_VIEWS,
    compute_effect,
    measure_faithfulness,
    remove_words,
)


def test_compute_effect_sums_over_channels():
    prediction = torch.tensor([[[[1.0, 2.0]], [[0.0, -1.0]]]])
    assert compute_effect(prediction, torch.zeros_like(prediction)).tolist() == [[1.0, 3.0]]


def test_remove_words_deletes_first_occurrence():
    assert remove_words("um gato vermelho e um rato", "gato vermelho") == "um e um rato"


def test_measure_faithfulness_of_joint_attention(joint):
    samples = measure_faithfulness(joint, number=1, seed=3, timesteps=(400,))
    assert {each.view for each in samples} == set(MAP_VIEWS)
    assert {each.ablation for each in samples} == set(ABLATIONS)
