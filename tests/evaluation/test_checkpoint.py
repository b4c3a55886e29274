"""Checkpoint files: stored parts, a partial last line, and other settings."""

from pathlib import Path

import pytest

from promptweight.errors import FileFormatError, SettingError
from promptweight.evaluation.checkpoint import Checkpoint, Rows


def test_checkpoint_stored_parts_are_not_measured_again(tmp_path: Path) -> None:
    measured: list[str] = []

    def measure(name: str) -> Rows:
        measured.append(name)
        return [{"name": name, "value": float("nan")}]

    path = tmp_path / "folder" / "checkpoint.jsonl"
    first = Checkpoint(path, {"seed": 1})
    first.get_or_measure(("a", 1.0), lambda: measure("a"))
    first.get_or_measure(("b", 1.0), lambda: measure("b"))
    resumed = Checkpoint(path, {"seed": 1})
    rows = [resumed.get_or_measure((name, 1.0), lambda name=name: measure(name)) for name in ("a", "b", "c")]
    assert [row["name"] for of_key in rows for row in of_key] == ["a", "b", "c"]
    assert measured == ["a", "b", "c"]


def test_checkpoint_partial_last_line_is_discarded(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.jsonl"
    Checkpoint(path, {}).get_or_measure(("a",), lambda: [{"value": 1}])
    with path.open("a") as file:
        file.write('[["b"], [{"val')
    resumed = Checkpoint(path, {})
    assert resumed.get_or_measure(("a",), lambda: pytest.fail("measured again")) == [{"value": 1}]
    assert resumed.get_or_measure(("b",), lambda: [{"value": 2}]) == [{"value": 2}]
    reopened = Checkpoint(path, {})
    assert reopened.get_or_measure(("b",), lambda: pytest.fail("measured again")) == [{"value": 2}]


def test_checkpoint_other_settings_or_other_file_raises(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.jsonl"
    Checkpoint(path, {"seed": 1})
    with pytest.raises(SettingError, match=r"'seed': 2.*got .*'seed': 1.*another folder"):
        Checkpoint(path, {"seed": 2})
    path.write_text("weights of a model\n")
    with pytest.raises(FileFormatError, match="is not a checkpoint"):
        Checkpoint(path, {"seed": 1})
