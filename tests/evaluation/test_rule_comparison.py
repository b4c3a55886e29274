"""Localization by rule: every rule, part and metric, for cross-attention and joint attention."""

import numpy as np
import pytest

from promptweight.evaluation.map_rules import RULES
from promptweight.evaluation.report.localization_section import build_localization_section
from promptweight.evaluation.rule_comparison import METRICS, measure_localization


def test_measure_localization_of_cross_attention(mini):
    result = measure_localization(mini, number=2, seed=3, timesteps=(300,))
    assert {each.rule for each in result.rules} == {*RULES, *(f"{rule}, wide" for rule in RULES)}
    assert {"noun", "color", "phrase"} <= {each.part for each in result.rules}
    for each in result.rules:
        values = [each.values[name] for name in METRICS]
        assert all(0 <= value <= 1 for value in values if not np.isnan(value))
        assert np.isnan(each.values["leaked"]) == (each.objects == 1 or each.part == "relation")
        assert np.nansum([each.values[name] for name in ("inside", "leaked", "elsewhere")]) == pytest.approx(
            1
        )
    section = build_localization_section(result)
    assert [metric.bar for metric in section.metrics] == [0.75, 0.98]
    phrases = next(table for table in section.tables if table.title == "Maps of a phrase, by rule")
    assert [row[0] for row in phrases.rows][: len(RULES)] == list(RULES)


def test_measure_localization_of_joint_attention(joint):
    result = measure_localization(joint, number=1, seed=3, timesteps=(300,))
    assert {each.rule for each in result.rules} == {*RULES, *(f"{rule}, wide" for rule in RULES)}
    assert {each.layer for each in result.layers} == {f"transformer_blocks.{n}.attn" for n in range(6)}
