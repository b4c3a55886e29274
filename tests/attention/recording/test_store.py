"""Settings, memory plan and slots of recordings."""

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


@pytest.mark.parametrize(
    ("size", "stride", "expected"), [((64, 96), 4, (16, 24)), ((13, 9), 2, (7, 5)), ((13, 9), 8, (2, 2))]
)
def test_grid_size_rounds_up(size, stride, expected):
    assert grid_size(*size, stride) == expected


def test_begin_call_gives_rows_columns_and_slot_indices():
    store = Store(
        Record(steps="keep", roles=("positive", "negative")),
        [Layer("a", 1, 2)],
        {("positive", 0, 0): (0, 1), ("negative", 0, 0): (0, 1, 2)},
    )
    batch_rows = [BatchRow("negative", 0, 0), None, BatchRow("positive", 0, 0)]
    cpu = torch.device("cpu")
    for step in range(2):
        rows, columns, indices = store.begin_call(batch_rows, (4, 4), step, 2, cpu)
        assert rows.tolist() == [0, 2]
        assert columns.tolist() == [[0, 1, 2], [0, 1, 0]]
        assert indices.tolist() == [2 * step + 1, 2 * step]
    with pytest.raises(AttachError, match="must have 2 steps; got a call of the model for step 3"):
        store.begin_call(batch_rows, (4, 4), 2, 2, cpu)
    assert store.begin_call([None, None], (4, 4), 0, 2, cpu) is None
    store.clear()
    assert store.begin_call(batch_rows[2:], (4, 4), 0, 2, cpu)[2].tolist() == [0]


def test_unrecorded_prompts_take_no_memory_and_indices_are_cached():
    """A long negative prompt that is not recorded takes no columns; equal calls share their index tensors."""
    columns = {("positive", 0, 0): [0, 1, 2], ("negative", 0, 0): list(range(60)), ("negative", 0, 1): [0]}
    store = Store(Record(), SD1[:1], columns)
    batch_rows = [BatchRow("negative", 0, 0), BatchRow("positive", 0, 0)]
    first = store.begin_call(batch_rows, (4, 4), 0, 5, torch.device("cpu"))
    assert store.slots["words"]["layer 0"].sums.shape == (1, 1, 16, 3)
    assert [each.tolist() for each in first] == [[1], [[0, 1, 2]], [0]]
    second = store.begin_call(batch_rows, (4, 4), 1, 5, torch.device("cpu"))
    assert all(one is other for one, other in zip(first, second, strict=True))
    store.clear()
    assert store.begin_call(batch_rows, (4, 4), 0, 5, torch.device("cpu"))[0] is not first[0]


def test_copied_recording_is_on_the_cpu():
    store = Store(Record(), SD1[:1], {("positive", 0, 0): [0, 1]})
    store.begin_call([BatchRow("positive", 0, 0)], (4, 4), 0, 5, torch.device("cpu"))
    with FakeTensorMode():  # tensors without values, also of devices that this machine has not
        for slot in store.slots["words"].values():
            slot.sums = torch.zeros(slot.sums.shape, device="cuda")
            slot.counts = torch.zeros(slot.counts.shape, device="cuda")
        recording = copy_recording(store, {"positive": [((),)], "negative": []}, 8)
    assert {tensor.device.type for slot in recording.slots for tensor in (slot.sums, slot.counts)} == {"cpu"}
