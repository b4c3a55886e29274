"""Prompt fidelity: relations between detections."""

from dataclasses import replace

import pytest

from promptweight.evaluation.prompt_fidelity import (
    SENTENCE,
    SceneDetections,
    check_pair,
    is_arranged,
)
from promptweight.evaluation.recognizer import Detection


@pytest.mark.parametrize(
    ("relation", "second", "holds"),
    [
        ("left", (40, 20), True),
        ("left", (0, 20), False),
        ("left", (30, 60), False),
        ("right", (0, 20), True),
        ("chase", (40, 24), True),
        ("above", (20, 40), True),
        ("above", (20, 0), False),
        ("below", (20, 0), True),
        ("beside", (0, 20), True),
        ("beside", (20, 40), False),
    ],
)
def test_is_arranged_by_centers(relation: str, second: tuple[int, int], holds: bool) -> None:
    first = Detection("cat", "red", 20, 20, 24, 1.0)
    assert is_arranged(relation, first, Detection("mouse", "blue", *second, 24, 1.0)) is holds


def test_check_pair_needs_both_objects_for_the_relation() -> None:
    cat, mouse = (Detection(each.kind, each.color, 0, 20, 24, 1.0) for each in SENTENCE.things)
    moved = replace(mouse, x=36)
    assert check_pair(SceneDetections(SENTENCE, "", (cat, moved))) == (True, True)
    assert check_pair(SceneDetections(SENTENCE, "", (replace(cat, x=40), moved))) == (True, False)
    assert check_pair(SceneDetections(SENTENCE, "", (cat,))) == (False, False)
