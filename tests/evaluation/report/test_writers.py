"""Report files: Markdown, JSON and reproducible SVG plots."""

import json
from dataclasses import replace

import pytest

from promptweight.evaluation.region_response import RegionSample
from promptweight.evaluation.report import writers
from promptweight.evaluation.report.document import Metric, ReportSection
from promptweight.evaluation.report.response_section import build_response_section
from promptweight.evaluation.report.targets_section import build_targets_section
from promptweight.evaluation.share_targets import TargetSample
from promptweight.evaluation.weight_response import WeightSample


def make_sections() -> list[ReportSection]:
    samples = [
        WeightSample(scene, name, weight, 1.0, 1.0, 1.0, weight / 10 + scene / 100, 0.1, 0.01)
        for name in ("a1111", "attention")
        for scene in range(3)
        for weight in (0.0, 1.0, 2.0)
    ]
    regions = [RegionSample(scene, "attention", "left", 0.8, 0.1) for scene in range(3)]
    targets = [TargetSample(scene, 0.25, 0.24, 1.8, 0.23) for scene in range(3)]
    response = build_response_section(samples, regions)
    return [replace(response, plots=response.plots[:2]), build_targets_section(targets)]


def test_write_creates_markdown_json_and_svg(tmp_path):
    pytest.importorskip("matplotlib", reason="plots need the extra “report”")
    files = writers.write(tmp_path, "Evaluation of mini", "Description.", make_sections(), {"model": "mini"})
    text, data = (tmp_path / "report.md").read_text(), json.loads((tmp_path / "report.json").read_text())
    assert "Spearman" in text
    assert "| 25% | 0.240 (0.24 – 0.24) |" in text
    tables = data["sections"]["share-targets"]["tables"]
    assert tables["Shares of the words' attention"] == [
        {
            "target": "25%",
            "share": {"value": 0.24, "low": 0.24, "high": 0.24, "count": 3},
            "absolute error": {"value": 0.01, "low": 0.01, "high": 0.01, "count": 3},
            "share with one weight for all steps": {"value": 0.23, "low": 0.23, "high": 0.23, "count": 3},
            "weight": {"value": 1.8, "low": 1.8, "high": 1.8, "count": 3},
        }
    ]
    assert [metric["met"] for metric in data["sections"]["weight-response"]["metrics"]] == [True, True]
    plots = [path for path in files if path.suffix == ".svg"]
    assert [path.name for path in files] == ["report.md", "report.json", *(path.name for path in plots)]
    assert len(plots) == 2
    assert all(f"]({path.name})" in text for path in plots)


def test_draw_plot_equal_data_give_equal_bytes(tmp_path):
    pytest.importorskip("matplotlib", reason="plots need the extra “report”")
    plot = make_sections()[0].plots[0]
    first = writers.draw_plot(plot, tmp_path).read_bytes()
    assert writers.draw_plot(plot, tmp_path).read_bytes() == first


def test_to_markdown_marks_missed_bar():
    metric = Metric("some metric", 0.5, 0.4, 0.6, 10, 0.75)
    lines = list(writers.to_markdown("t", "s", [ReportSection("n", "t", "s", metrics=(metric,))]))
    assert "| some metric | 0.500 | 0.40 – 0.60 | 10 | ≥ 0.75 | **missed** |" in lines
