"""Shards: partition of a plan, and the variables of launchers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.batch import Shard, find_shard
from promptweight.batch.sharding import choose_local_device
from promptweight.errors import SettingError


@given(st.integers(0, 40), st.integers(1, 7))
def test_shards_are_disjoint_complete_and_balanced(items, total):
    parts = [Shard(number, total).of(range(items)) for number in range(1, total + 1)]
    assert sorted(item for part in parts for item in part) == list(range(items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (1, 1)),
        ({"RANK": "1", "WORLD_SIZE": "4"}, (2, 4)),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}, (3, 3)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (1, 1)),  # the batch script itself, outside of a step
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}, (4, 4)),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "3"}, (3, 3)),
        (
            {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "2",
             "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"},
            (4, 4),
        ),
    ],
)  # fmt: skip
def test_shard_is_that_of_the_launcher(environment, expected):
    assert find_shard(None, environment)[:2] == expected
    assert find_shard("2/3", environment)[:2] == (2, 3)


@pytest.mark.parametrize("given", ["0/2", "3/2", "2", "a/b", "-1/2", "1/0"])
def test_invalid_shard_is_rejected(given):
    with pytest.raises(SettingError, match="shard"):
        find_shard(given, {})
    with pytest.raises(SettingError):
        find_shard(None, {"RANK": "2", "WORLD_SIZE": "2"})


def test_local_device_of_a_cpu_launch_is_the_cpu():
    assert choose_local_device("auto", {"LOCAL_RANK": "1", "ACCELERATE_USE_CPU": "true"}) == "cpu"
    assert choose_local_device("cuda:3", {"LOCAL_RANK": "1"}) == "cuda:3"
    assert choose_local_device("auto", {}) == "auto"
