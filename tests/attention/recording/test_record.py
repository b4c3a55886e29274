"""Settings of a recording, and its plan within a memory limit."""

import pytest

from promptweight.attention.layers import Layer
from promptweight.attention.recording.record import Record, plan_recording
from promptweight.errors import SettingError

# Stable Diffusion 1: 16 layers with 8 heads, on 64, 32, 16 and 8 cells a side
SD1 = [
    Layer(f"layer {i}", stride, 8)
    for i, stride in enumerate([1, 1, 2, 2, 4, 4, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1])
]


SD1_MIB = (5 * 64**2 + 5 * 32**2 + 5 * 16**2 + 8**2) * 4 / 2**20


def test_record_refuses_invalid_settings():
    for settings, message in [
        ({"steps": "all"}, "steps must be one of: sum, keep; got 'all'"),
        ({"heads": "sum"}, "heads must be one of: mean, keep; got 'sum'"),
        ({"roles": ("left",)}, r"roles must be .*; got \('left',\)"),
        ({"roles": ()}, "roles must be"),
        ({"max_mb": 0}, "max_mb must be a number above 0; got 0"),
        ({"max_mb": "1"}, "max_mb must be a number above 0; got '1'"),
        ({"patches": 0.5}, "patches must be a list of points"),
        ({"patches": [0.5, 0.5]}, "a patch must be .*; got 0.5"),
        ({"patches": [("left", 0)]}, "a patch must be"),
    ]:
        with pytest.raises(SettingError, match=message):
            Record(**settings)


def test_plan_keeps_everything_within_the_limit():
    plan = plan_recording(Record(steps="keep", heads="keep", max_mb=1e6), SD1, (64, 64), 20, 50)
    assert (plan.steps, plan.keep_heads, plan.by_grid, plan.warnings) == (50, True, False, ())


@pytest.mark.parametrize(
    ("times", "shape"),
    [
        (8 * 50, (50, True, False)),
        (50, (50, False, False)),
        (1, (1, False, False)),
    ],
)
def test_plan_meets_the_limit_exactly(times, shape):
    """A limit just large enough for this shape; with a little less memory the next reduction follows."""
    enough = SD1_MIB * 20 * times
    plan = plan_recording(Record(steps="keep", heads="keep", max_mb=enough), SD1, (64, 64), 20, 50)
    assert (plan.steps, plan.keep_heads, plan.by_grid) == shape
    less = plan_recording(Record(steps="keep", heads="keep", max_mb=enough * 0.999), SD1, (64, 64), 20, 50)
    assert (less.steps, less.keep_heads, less.by_grid) != shape
    assert len(less.warnings) == len(plan.warnings) + 1


def test_plan_without_room_is_refused():
    with pytest.raises(SettingError, match=r"needs at least 0\.4 MiB, more than max_mb=0.1"):
        plan_recording(Record(max_mb=0.1), SD1, (64, 64), 20, 50)
