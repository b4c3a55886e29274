"""Models of the built-in world, and what can be measured on which model."""

from promptweight.evaluation.report.run import MEASUREMENTS
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.mini.worlds import FIRST, PRESENT


def subject(world):
    return EvaluatedModel("a model", None, 10, 0, world)


def possible(world):
    return [each.name for each in MEASUREMENTS if each.is_possible(subject(world))]


def test_only_the_built_in_world_has_known_masks():
    assert subject(FIRST).draws_builtin_world
    assert not subject(None).draws_builtin_world


def test_measurements_fit_the_world_of_the_model():
    every = [each.name for each in MEASUREMENTS]
    assert possible(PRESENT) == every
    assert possible(FIRST) == [name for name in every if name != "degree-response"]
    assert possible(None) == ["faithfulness", "weight-response", "share-targets"]
