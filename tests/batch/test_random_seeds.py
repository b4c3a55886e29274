"""Random seeds: different in each folder, equal in each run into it."""

import pytest

from promptweight.batch import RandomSeeds, Row, Sweep, plan_batch
from promptweight.errors import FileFormatError

ROWS = [Row("-", line, {"prompt": "um gato", "seeds": (-1,)}) for line in (1, 2)]


def seeds(rows=ROWS, **options):
    return [image.job.seed for image in plan_batch(rows, **options).images]


def test_seed_of_a_folder_is_the_same_in_each_run(tmp_path):
    first = seeds(random_seeds=RandomSeeds(tmp_path / "a"))
    assert len(set(first)) == 2
    assert all(0 <= seed < 2**32 for seed in first)
    assert seeds(random_seeds=RandomSeeds(tmp_path / "a")) == first
    assert seeds(random_seeds=RandomSeeds(tmp_path / "a", is_preview=True)) == first
    assert not set(first) & set(seeds(random_seeds=RandomSeeds(tmp_path / "b")))
    assert not set(seeds()) & set(seeds())


def test_preview_writes_nothing(tmp_path):
    random_seeds = RandomSeeds(tmp_path / "a", is_preview=True)
    assert not random_seeds.is_provisional
    assert len(seeds(random_seeds=random_seeds)) == 2
    assert random_seeds.is_provisional
    assert not list(tmp_path.iterdir())


def test_rows_with_seeds_of_their_own_need_no_random_number(tmp_path):
    random_seeds = RandomSeeds(tmp_path / "a")
    assert seeds([Row("-", 1, {"prompt": "um gato", "seeds": (3,)})], random_seeds=random_seeds) == [3]
    assert not list(tmp_path.iterdir())


def test_random_seed_counts_on_and_sweeps():
    row = Row("-", 1, {"prompt": "um gato", "seeds": (-1,), "count": 3})
    first, *others = seeds([row])
    assert others == [first + 1, first + 2]
    assert len(set(seeds([Row("-", 1, {"prompt": "um gato"})], sweep=Sweep(seeds=(-1, -1, 5))))) == 3


def test_damaged_number_of_a_folder_is_an_error(tmp_path):
    plan_batch(ROWS, random_seeds=RandomSeeds(tmp_path))
    (path,) = tmp_path.iterdir()
    path.write_text("x")
    with pytest.raises(FileFormatError, match="must hold one number"):
        RandomSeeds(tmp_path).draw("um gato", "")
