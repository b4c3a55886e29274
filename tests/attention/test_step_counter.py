"""Steps of a pipeline's runs, counted by the calls of its model."""

from types import SimpleNamespace

import pytest

from promptweight.attention.step_counter import StepCounter


def make_pipeline(steps, **scheduler):
    return SimpleNamespace(scheduler=SimpleNamespace(timesteps=list(range(steps)), **scheduler))


def test_count_gives_one_step_for_both_roles_together_or_separately():
    counter = StepCounter(make_pipeline(3))
    assert counter.count(["positive", "negative"]) == 0
    assert counter.count(["negative"]) == counter.count(["positive"]) == 1
    assert counter.current == 1
    counter.restart()
    assert counter.count(["positive"]) == counter.current == 0


def test_detect_new_run_by_another_schedule():
    pipe = make_pipeline(3)
    counter = StepCounter(pipe)
    assert counter.steps == 1
    assert counter.detect_new_run()
    counter.count(["positive"])
    assert not counter.detect_new_run()
    pipe.scheduler.timesteps = list(range(5))
    assert counter.detect_new_run()
    assert counter.steps == 5
    assert counter.count(["positive"]) == 0
    pipe._num_timesteps = 2  # of a run that begins from an image
    assert counter.steps == 2


@pytest.mark.parametrize(
    ("calls", "planned", "order", "matches"),
    [(4, 4, 1, True), (5, 4, 1, True), (7, 4, 2, True), (10, 4, 2, False), (3, 4, 1, False)],
)
def test_matches_plan_of_first_and_second_order_samplers(calls, planned, order, matches):
    counter = StepCounter(make_pipeline(calls, order=order))
    counter.detect_new_run()
    assert counter.matches_plan(planned) is matches


def test_planned_position_divides_calls_evenly():
    counter = StepCounter(make_pipeline(7))
    counter.detect_new_run()
    assert [counter.planned_position(step, 4) for step in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_is_repeated_for_calls_that_a_guider_makes_after_the_steps_own():
    pipe = make_pipeline(2)
    counter = StepCounter(pipe)
    pipe.guider = SimpleNamespace(_step=0)
    assert not counter.is_repeated(["positive"])
    counter.count(["positive"])
    assert counter.is_repeated(["positive"])
    assert not counter.is_repeated(["positive", "negative"])
    pipe.guider._step = 1
    assert not counter.is_repeated(["positive"])
