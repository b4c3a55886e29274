"""What was measured is kept, part by part, and only for the settings that it was measured with."""

from pathlib import Path

import pytest

from promptweight.errors import SettingError
from promptweight.evaluation.checkpoint import Kept, Rows


def test_what_was_made_is_not_made_again(tmp_path: Path) -> None:
    made: list[str] = []

    def make(name: str) -> Rows:
        made.append(name)
        return [{"name": name, "value": float("nan")}]

    path = tmp_path / "folder" / "kept.jsonl"
    first = Kept(path, {"seed": 1})
    first.rows(("a", 1.0), lambda: make("a"))
    first.rows(("b", 1.0), lambda: make("b"))
    again = Kept(path, {"seed": 1})
    rows = [again.rows((name, 1.0), lambda name=name: make(name)) for name in ("a", "b", "c")]
    assert [row["name"] for of_key in rows for row in of_key] == ["a", "b", "c"]
    assert made == ["a", "b", "c"]


def test_half_a_line_of_a_killed_run_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    Kept(path, {}).rows(("a",), lambda: [{"value": 1}])
    with path.open("a") as file:
        file.write('[["b"], [{"val')
    again = Kept(path, {})
    assert again.rows(("a",), lambda: pytest.fail("kept")) == [{"value": 1}]
    assert again.rows(("b",), lambda: [{"value": 2}]) == [{"value": 2}]
    assert Kept(path, {}).rows(("b",), lambda: pytest.fail("kept")) == [{"value": 2}]


def test_other_settings_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    Kept(path, {"seed": 1})
    with pytest.raises(SettingError, match=r"'seed': 1.*'seed': 2.*another folder"):
        Kept(path, {"seed": 2})
    path.write_text("weights of a model\n")
    with pytest.raises(SettingError, match="is not what was kept"):
        Kept(path, {"seed": 1})
