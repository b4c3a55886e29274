"""Reports of a model: argument checks before any measurement, and a model without masks."""

import pytest

from promptweight.errors import SettingError
from promptweight.evaluation.report.run import write_report

pytest.importorskip("matplotlib", reason="plots need the extra “report”")


def test_write_report_invalid_arguments_raise_before_measuring(tmp_path, tiny_pipe):
    with pytest.raises(SettingError, match="weather"):
        write_report("mini", tmp_path, only=["weather"])
    with pytest.raises(SettingError, match="masks"):
        write_report(tiny_pipe, tmp_path, only=["missing-concepts"])
    assert not list(tmp_path.iterdir())


def test_write_report_of_model_without_masks(tmp_path, tiny_pipe):
    names = []
    (section,), files = write_report(
        tiny_pipe, tmp_path, only=["faithfulness"], number=1, progress=names.append
    )
    assert names == ["faithfulness"]
    assert [path.name for path in files] == ["report.md", "report.json"]
    assert "--report DIR --only faithfulness --number 1 --seed 0`" in files[0].read_text()
    correlations = [cell.value for row in section.tables[0].rows for cell in row[2:]]
    assert all(-1 <= value <= 1 for value in correlations)
