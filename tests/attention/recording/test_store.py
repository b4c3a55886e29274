"""The shape of recordings and the settings they are asked for by."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from promptweight.attention.batch_rows import BatchRow
from promptweight.attention.layers import Layer, grid_size
from promptweight.attention.recording.record import Record, plan_recording
from promptweight.attention.recording.store import Store, copy_recording
from promptweight.errors import AttachError, SettingError

# Stable Diffusion 1: 16 layers with 8 heads, on 64, 32, 16 and 8 cells a side
SD1 = [
    Layer(f"layer {i}", stride, 8)
    for i, stride in enumerate([1, 1, 2, 2, 4, 4, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1])
]
SD1_MIB = (5 * 64**2 + 5 * 32**2 + 5 * 16**2 + 8**2) * 4 / 2**20


def test_settings_are_checked():
    for settings, message in [
        ({"steps": "all"}, "steps='all'; it must be one of sum, keep"),
        ({"heads": "sum"}, "heads='sum'; it must be one of mean, keep"),
        ({"lanes": ("left",)}, "lanes="),
        ({"lanes": ()}, "lanes="),
        ({"max_mb": 0}, "max_mb=0"),
        ({"max_mb": "1"}, "max_mb='1'; it must be a number above 0"),
        ({"patches": 0.5}, "patches=0.5; it must be a list of places"),
        ({"patches": [0.5, 0.5]}, "patch 0.5; it must be"),
        ({"patches": [("left", 0)]}, "patch "),
    ]:
        with pytest.raises(SettingError, match=message):
            Record(**settings)


def test_what_is_asked_for_is_kept_when_there_is_room():
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
def test_the_budget_is_met_exactly(times, shape):
    """Just enough for this shape; a little less gives up the next thing."""
    enough = SD1_MIB * 20 * times
    plan = plan_recording(Record(steps="keep", heads="keep", max_mb=enough), SD1, (64, 64), 20, 50)
    assert (plan.steps, plan.keep_heads, plan.by_grid) == shape
    less = plan_recording(Record(steps="keep", heads="keep", max_mb=enough * 0.999), SD1, (64, 64), 20, 50)
    assert (less.steps, less.keep_heads, less.by_grid) != shape
    assert len(less.warnings) == len(plan.warnings) + 1


def test_no_shape_fits():
    with pytest.raises(SettingError, match=r"needs at least 0\.4 MiB, more than max_mb=0.1"):
        plan_recording(Record(max_mb=0.1), SD1, (64, 64), 20, 50)


@pytest.mark.parametrize(
    ("size", "stride", "wanted"), [((64, 96), 4, (16, 24)), ((13, 9), 2, (7, 5)), ((13, 9), 8, (2, 2))]
)
def test_grid(size, stride, wanted):
    assert grid_size(*size, stride) == wanted


def test_calls_of_a_run():
    store = Store(
        Record(steps="keep", lanes=("positive", "negative")),
        [Layer("a", 1, 2)],
        {("positive", 0, 0): (0, 1), ("negative", 0, 0): (0, 1, 2)},
    )
    lanes = [BatchRow("negative", 0, 0), None, BatchRow("positive", 0, 0)]
    cpu = torch.device("cpu")
    for step in range(2):
        rows, columns, places = store.prepare(lanes, (4, 4), step, 2, cpu)
        assert rows.tolist() == [0, 2]
        assert columns.tolist() == [[0, 1, 2], [0, 1, 0]]
        assert places.tolist() == [2 * step + 1, 2 * step]
    with pytest.raises(AttachError, match="step 3 of a run of 2 steps"):
        store.prepare(lanes, (4, 4), 2, 2, cpu)
    assert store.prepare([None, None], (4, 4), 0, 2, cpu) is None
    store.clear()
    assert store.prepare(lanes[2:], (4, 4), 0, 2, cpu)[2].tolist() == [0]


def test_only_what_is_recorded_takes_room_and_indices_are_made_once():
    """A long negative prompt that is not recorded costs nothing; equal calls share their index tensors."""
    columns = {("positive", 0, 0): [0, 1, 2], ("negative", 0, 0): list(range(60)), ("negative", 0, 1): [0]}
    store = Store(Record(), SD1[:1], columns)
    lanes = [BatchRow("negative", 0, 0), BatchRow("positive", 0, 0)]
    first = store.prepare(lanes, (4, 4), 0, 5, torch.device("cpu"))
    assert store.slots["words"]["layer 0"].sums.shape == (1, 1, 16, 3)
    assert [each.tolist() for each in first] == [[1], [[0, 1, 2]], [0]]
    second = store.prepare(lanes, (4, 4), 1, 5, torch.device("cpu"))
    assert all(one is other for one, other in zip(first, second, strict=True))
    store.clear()
    assert store.prepare(lanes, (4, 4), 0, 5, torch.device("cpu"))[0] is not first[0]


def test_a_recording_lies_on_the_cpu_wherever_the_model_computes():
    store = Store(Record(), SD1[:1], {("positive", 0, 0): [0, 1]})
    store.prepare([BatchRow("positive", 0, 0)], (4, 4), 0, 5, torch.device("cpu"))
    with FakeTensorMode():  # tensors without values, also of devices that this machine has not
        for slot in store.slots["words"].values():
            slot.sums = torch.zeros(slot.sums.shape, device="cuda")
            slot.counts = torch.zeros(slot.counts.shape, device="cuda")
        recording = copy_recording(store, {"positive": [((),)], "negative": []}, 8)
    assert {tensor.device.type for slot in recording.slots for tensor in (slot.sums, slot.counts)} == {"cpu"}
