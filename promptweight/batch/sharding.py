"""Which part of a plan this process makes: told, or read from what launchers put into the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from promptweight.errors import SettingError

T = TypeVar("T")

_RANKS = (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"))
"""What torchrun, accelerate and MPI call the number of a process, from 0, and how many there are."""


class Shard(NamedTuple):
    """Part `number` (from 1) of `total`, and who said so."""

    number: int
    total: int
    source: str = ""

    def __str__(self) -> str:
        return f"shard {self.number}/{self.total}"

    def of(self, items: Sequence[T]) -> list[T]:
        """Every `total`-th item, so that parts differ by one at most and none is in two."""
        return list(items[self.number - 1 :: self.total])


def find_shard(given: str | None, environment: Mapping[str, str] = os.environ) -> Shard:
    """Return the part of this process: `given` as `i/n`, else what its launcher says, else all.

    Read are torchrun's and accelerate's RANK and WORLD_SIZE, MPI's (which accelerate uses without GPUs), and
    SLURM's step and job array, multiplied.

    Raises:
        SettingError: it is no part of a whole.
    """
    if given is not None:
        match = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", given)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise SettingError(f"shard is {given!r}; it must be i/n with i from 1 to n, such as 2/4")
        return Shard(int(match[1]), int(match[2]), "--shard")
    for rank, size in _RANKS:
        if size in environment:
            total = _number(environment, size, 1)
            return _checked(Shard(_number(environment, rank, 0) + 1, total, f"{rank} and {size}"))
    # SLURM_PROCID alone is no sign of a step: in a batch script itself it is 0 of as many tasks as asked for.
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS", 1)
    task = _number(environment, "SLURM_PROCID", 0) if tasks > 1 else 0
    arrays = _number(environment, "SLURM_ARRAY_TASK_COUNT", 1)
    step = max(1, _number(environment, "SLURM_ARRAY_TASK_STEP", 1))
    first = _number(environment, "SLURM_ARRAY_TASK_MIN", 0)
    array = (_number(environment, "SLURM_ARRAY_TASK_ID", first) - first) // step if arrays > 1 else 0
    return _checked(Shard(array * tasks + task + 1, arrays * tasks, "SLURM" if arrays * tasks > 1 else ""))


def choose_local_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the device of this process: `auto` is a GPU of its own where a launcher started several."""
    local = environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", ""))
    if device != "auto" or not local.isdecimal():
        return device
    if environment.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
        return "cpu"
    import torch

    # A launcher that shows each process one GPU alone calls that one 0.
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{int(local) % count}" if count > 1 else device


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal():
        raise SettingError(f"the environment variable {name} is {text!r}; it must be a whole number")
    return int(text)


def _checked(shard: Shard) -> Shard:
    if not 1 <= shard.number <= shard.total:
        raise SettingError(
            f"{shard.source} give part {shard.number} of {shard.total}, which is none; --shard i/n overrules"
        )
    return shard
