"""Response curves: correlations, smoothness, usable weights and relative areas, on samples made by hand."""

import numpy as np
import pytest

from promptweight.evaluation import response_curves
from promptweight.evaluation.weight_response import WeightSample


def make_sample(scene: int, weight: float, area: float, present: float = 1.0) -> WeightSample:
    return WeightSample(scene, "a1111", weight, present, 1.0, 1.0, area, 0.1, 0.01)


def make_curve(scene: int, areas: dict[float, float]) -> list[WeightSample]:
    return [make_sample(scene, weight, area) for weight, area in areas.items()]


def test_correlate_by_scene_omits_constant_areas_and_negative_weights():
    rising = make_curve(0, {weight: weight / 10 for weight in (0.0, 0.5, 1.0, 2.0)})
    falling = make_curve(1, {weight: 1 - weight / 10 for weight in (0.0, 0.5, 1.0, 2.0)})
    flat = make_curve(2, dict.fromkeys((0.0, 0.5, 1.0, 2.0), 0.5))
    negative = [make_sample(0, -1.0, 9.0)]
    samples = [*rising, *falling, *flat, *negative]
    assert response_curves.correlate_by_scene(samples) == [(0, pytest.approx(1)), (1, pytest.approx(-1))]
    assert response_curves.smoothness_by_scene(rising) == [(0, pytest.approx(0.5))]


def test_correlate_mean_curve_can_exceed_single_scenes():
    weights = (0.0, 0.5, 1.0, 2.0)
    samples = [
        *make_curve(0, dict(zip(weights, (0.1, 0.4, 0.3, 0.5), strict=True))),
        *make_curve(1, dict(zip(weights, (0.3, 0.2, 0.5, 0.6), strict=True))),
    ]
    mean = response_curves.correlate_mean_curve(samples)
    assert mean.value == pytest.approx(1)
    assert [round(value, 2) for _, value in response_curves.correlate_by_scene(samples)] == [0.8, 0.8]
    assert mean.low == pytest.approx(0.8)


def test_correlate_mean_curve_of_selected_weights():
    samples = make_curve(0, {-1.0: 0.0, 0.0: 0.3, 0.5: 0.2, 1.0: 0.1, 1.5: 0.4, 2.0: 0.5})
    below = response_curves.select_weights(samples, 0, 1)
    above = response_curves.select_weights(samples, 1, np.inf)
    assert response_curves.correlate_mean_curve(below).value == pytest.approx(-1)
    assert response_curves.correlate_mean_curve(above).value == pytest.approx(1)


def test_usable_weights_end_where_objects_disappear():
    present = {-1.0: 0.0, 0.0: 0.5, 0.5: 0.9, 1.0: 1.0, 1.5: 0.85, 2.0: 0.2, 2.5: 0.9}
    samples = [make_sample(0, weight, 0.1, share) for weight, share in present.items()]
    assert response_curves.usable_weights(samples) == (0.5, 1.5)


def test_relative_areas_need_the_object_and_a_baseline():
    samples = [
        make_sample(0, 0.0, 0.05, present=0.0),
        make_sample(0, 1.0, 0.1),
        make_sample(0, 2.0, 0.15),
        make_sample(1, 2.0, 0.2),
    ]
    assert response_curves.relative_areas(samples) == [(0, 1.0, 1.0), (0, 2.0, pytest.approx(1.5))]
