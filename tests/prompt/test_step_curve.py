"""Step curves: their points, their values over a run, and their syntax."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.errors import SettingError
from promptweight.prompt import factor_at, make_step_curve, parse
from promptweight.prompt.step_curve import format_step_curve


def over(curve, steps):
    return [factor_at(make_step_curve(curve), step, steps) for step in range(steps)]


def test_range_is_a_curve_of_factors_1():
    assert make_step_curve((0.2, 0.8)) == ((0.2, 1), (0.8, 1))
    assert over((0.2, 0.8), 10) == [None, None, 1, 1, 1, 1, 1, 1, None, None]
    assert over((0, 0.5), 4) == [1, 1, None, None]
    assert over((0.5, 1), 4) == [None, None, 1, 1]


def test_first_and_last_step_of_the_range_have_the_factors_of_the_ends():
    assert over(((0, 1), (1, 0)), 5) == [1, 0.75, 0.5, 0.25, 0]
    values = over(((0.3, 0), (0.7, 3)), 10)
    assert values[3:7] == pytest.approx([0, 1, 2, 3])
    assert set(values[:3] + values[7:]) == {None}
    assert over(((0, 2), (1, 0)), 1) == [2]


def test_factors_are_linear_between_the_points():
    assert over(((0, 1.5), (0.5, 1), (1, 0.2)), 5) == pytest.approx([1.5, 1.25, 1, 0.6, 0.2])
    assert over(((0, 0), (0.75, 3), (1, 7)), 9) == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3, 5, 7])


def test_range_between_two_steps_has_no_step():
    assert over((0.3, 0.4), 2) == [None, None]


@pytest.mark.parametrize(
    "value",
    [
        *(None, 3, "0-1", (0,), (0, 1, 2), (0.5, 0.5), (0.8, 0.2), (-0.1, 1), (0, 1.1), (math.nan, 1)),
        *(((0, 1),), ((0, 1), (0, 2)), ((0, 1), (2, 1)), ((0, math.inf), (1, 1)), ((0, 1), (1, 1), 3)),
    ],
)
def test_invalid_curve_is_refused(value):
    with pytest.raises(SettingError, match="steps must be two increasing fractions"):
        make_step_curve(value)


positions = st.floats(0, 1, allow_subnormal=False)
factors = st.floats(-1e30, 1e30, allow_subnormal=False)
curves = st.lists(st.tuples(positions, factors), min_size=2, max_size=6, unique_by=lambda point: point[0])


@given(curves)
def test_written_curve_is_read_back_exactly(points):
    curve = make_step_curve(sorted(points))
    prompt = parse(f"(gato:1{{steps={format_step_curve(curve)}}})").at()
    assert prompt.diagnostics == ()
    assert prompt.spans[0].options.steps == curve


@given(positions, positions)
def test_written_range_is_read_back_exactly(begin, end):
    if begin < end:
        curve = make_step_curve((begin, end))
        assert ":" not in format_step_curve(curve)
        assert parse(f"(gato:1{{steps={format_step_curve(curve)}}})").at().spans[0].options.steps == curve
