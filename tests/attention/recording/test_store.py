"""Slots of recordings, and their copy to the CPU."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from promptweight.attention.batch_rows import BatchRow
from promptweight.attention.layers import Layer
from promptweight.attention.recording.record import Record
from promptweight.attention.recording.store import Store, copy_recording
from promptweight.errors import AttachError

LAYER = Layer("layer", 1, 8)


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
    store = Store(Record(), [LAYER], columns)
    batch_rows = [BatchRow("negative", 0, 0), BatchRow("positive", 0, 0)]
    first = store.begin_call(batch_rows, (4, 4), 0, 5, torch.device("cpu"))
    assert store.slots["words"]["layer"].sums.shape == (1, 1, 16, 3)
    assert [each.tolist() for each in first] == [[1], [[0, 1, 2]], [0]]
    second = store.begin_call(batch_rows, (4, 4), 1, 5, torch.device("cpu"))
    assert all(one is other for one, other in zip(first, second, strict=True))
    store.clear()
    assert store.begin_call(batch_rows, (4, 4), 0, 5, torch.device("cpu"))[0] is not first[0]


def test_copied_recording_is_on_the_cpu():
    store = Store(Record(), [LAYER], {("positive", 0, 0): [0, 1]})
    store.begin_call([BatchRow("positive", 0, 0)], (4, 4), 0, 5, torch.device("cpu"))
    with FakeTensorMode():  # tensors without values, also of devices that this machine has not
        for slot in store.slots["words"].values():
            slot.sums = torch.zeros(slot.sums.shape, device="cuda")
            slot.counts = torch.zeros(slot.counts.shape, device="cuda")
        recording = copy_recording(store, {"positive": [((),)], "negative": []}, 8)
    assert {tensor.device.type for slot in recording.slots for tensor in (slot.sums, slot.counts)} == {"cpu"}
