"""Cells of a report as text and JSON."""

from promptweight.evaluation.report.document import format_cell, to_json_value
from promptweight.evaluation.statistics import ClusterMean


def test_nan_cell_is_dash_and_null():
    empty = ClusterMean.from_samples([])
    assert format_cell(empty) == "–"
    assert to_json_value(empty)["value"] is None
