"""Shard of a plan for this process: passed, or read from the environment of a launcher."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from promptweight.errors import SettingError
from promptweight.messages import message

T = TypeVar("T")

_RANK_VARIABLES = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)
"""Variables of torchrun, accelerate and MPI with the number of a process, from 0, and of how many."""


class Shard(NamedTuple):
    """Part of a plan.

    Attributes:
        number: number of the part, from 1.
        total: number of parts.
        source: origin of the two numbers, for error messages.
    """

    number: int
    total: int
    source: str = ""

    def __str__(self) -> str:
        return f"shard {self.number}/{self.total}"

    def of(self, items: Sequence[T]) -> list[T]:
        """Return every `total`-th item, so that parts are disjoint and differ by one item at most."""
        return list(items[self.number - 1 :: self.total])

    def has(self, index: int) -> bool:
        """Return True if the item at an index, from 0, is in this part."""
        return index % self.total == self.number - 1


def find_shard(given: str | None, environment: Mapping[str, str] = os.environ) -> Shard:
    """Return the shard of this process: `given` as `i/n`, else that of its launcher, else the whole.

    The environment variables are RANK and WORLD_SIZE of torchrun and accelerate, those of MPI (which
    accelerate uses without GPUs), and the step and job array of SLURM, multiplied.

    Raises:
        SettingError: the numbers are not a part of a whole.
    """
    if given is not None:
        match = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", given)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise SettingError(message("shard", given=given))
        return Shard(int(match[1]), int(match[2]), "--shard")
    for rank, size in _RANK_VARIABLES:
        if size in environment:
            total = _read_integer(environment, size, 1)
            return _check(Shard(_read_integer(environment, rank, 0) + 1, total, f"{rank} and {size}"))
    # SLURM_PROCID alone does not show a step: in a batch script it is 0 of the number of requested tasks.
    tasks = _read_integer(environment, "SLURM_STEP_NUM_TASKS", 1)
    task = _read_integer(environment, "SLURM_PROCID", 0) if tasks > 1 else 0
    arrays = _read_integer(environment, "SLURM_ARRAY_TASK_COUNT", 1)
    step = max(1, _read_integer(environment, "SLURM_ARRAY_TASK_STEP", 1))
    first = _read_integer(environment, "SLURM_ARRAY_TASK_MIN", 0)
    array = (_read_integer(environment, "SLURM_ARRAY_TASK_ID", first) - first) // step if arrays > 1 else 0
    total = arrays * tasks
    return _check(Shard(array * tasks + task + 1, total, "SLURM" if total > 1 else ""))


def choose_local_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the device of this process.

    `auto` is a GPU of its own if a launcher started several processes.
    """
    local = environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", ""))
    if device != "auto" or not local.isdecimal():
        return device
    if environment.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
        return "cpu"
    import torch

    # A launcher that shows each process a single GPU numbers it 0.
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{int(local) % count}" if count > 1 else device


def _read_integer(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal():
        raise SettingError(message("shard-variable", name=name, text=text))
    return int(text)


def _check(shard: Shard) -> Shard:
    if not 1 <= shard.number <= shard.total:
        raise SettingError(
            message("shard-number", source=shard.source, total=shard.total, number=shard.number)
        )
    return shard
