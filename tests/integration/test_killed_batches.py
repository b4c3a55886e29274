"""Runs killed at any moment, and several in one folder: nothing lost, nothing half, nothing twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import promptweight
from promptweight.batch.output_folder import is_complete_image, read_manifest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked from a prepared one")

PICTURES = 10
PREPARED = """
import os, sys
import torch

torch.set_num_threads(1)
from promptweight import models
from promptweight.batch import make_plan, read, run
from promptweight.batch import contact, drawing, engine, memory
import promptweight.attention, promptweight.conditioning.encoding

pipe = models.load(sys.argv[1], device="cpu")
rows = read(sys.argv[2])
plan = make_plan(rows, model=sys.argv[1])
print("ready", flush=True)
for order in sys.stdin:
    what, folder = order.split(" ", 1)
    if what == "run":
        child = os.fork()
        if child == 0:
            outcome = run(plan, folder.strip(), load=lambda: pipe)
            os._exit(0 if outcome.left == outcome.failed == 0 else 3)
        print(child, flush=True)
    else:
        print(os.waitstatus_to_exitcode(os.waitpid(int(folder), 0)[1]), flush=True)
"""


class Prepared:
    """A process with the model loaded, which forks a run of the same plan whenever it is told."""

    def __init__(self, model: Path, jobs: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PREPARED, str(model), str(jobs)],
            cwd=Path(promptweight.__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, order: str) -> int:
        self.process.stdin.write(order + "\n")
        return int(self.process.stdout.readline())

    def start(self, folder: Path) -> int:
        return self.ask(f"run {folder}")

    def end(self, run: int) -> int:
        return self.ask(f"wait {run}")


@pytest.fixture(scope="module")
def prepared(model_folder, tmp_path_factory):
    jobs = tmp_path_factory.mktemp("jobs") / "jobs.txt"
    jobs.write_text(f"um (gato:1.4) --s 2 --d 1-{PICTURES}\n")
    started = Prepared(model_folder, jobs)
    yield started
    started.process.stdin.close()
    assert started.process.wait() == 0
    started.process.stdout.close()


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    """The files of a run that nobody disturbed, and how long it took in seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    assert prepared.end(prepared.start(folder)) == 0
    return files(folder), time.monotonic() - start


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def made(folder):
    """The files that a folder's manifest says were made, each once."""
    names = [line["file"] for line in read_manifest(folder) if line["status"] == "ok"]
    assert len(set(names)) == len(names)
    return set(names)


def test_killed_at_random_moments_and_run_again_it_is_as_if_nothing_had_been(prepared, undisturbed, tmp_path):
    expected, seconds = undisturbed
    chance = random.Random(20)
    kills = 0
    for _ in range(6):
        run = prepared.start(tmp_path)
        time.sleep(chance.uniform(0, 0.6 * seconds))
        os.kill(run, signal.SIGKILL)
        kills += prepared.end(run) == -signal.SIGKILL
        there = files(tmp_path)
        assert all(is_complete_image(tmp_path / name) for name in there)
        assert there.items() <= expected.items()
        assert made(tmp_path) <= there.keys()
    assert kills
    there, told = files(tmp_path), made(tmp_path)
    written = {name: (tmp_path / name).stat().st_mtime_ns for name in there}
    assert prepared.end(prepared.start(tmp_path)) == 0
    assert files(tmp_path) == expected
    assert made(tmp_path) - told == expected.keys() - there.keys()  # what was missing, and nothing else
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in there} == written
    assert not list(tmp_path.glob(".*.tmp"))
    told = {line["id"]: line["status"] for line in read_manifest(tmp_path)}
    assert len(told) == PICTURES
    assert set(told.values()) <= {"ok", "skipped"}


def test_two_processes_in_one_folder_share_the_work(prepared, undisturbed, tmp_path):
    expected, _ = undisturbed
    runs = [prepared.start(tmp_path), prepared.start(tmp_path)]
    assert [prepared.end(run) for run in runs] == [0, 0]
    assert files(tmp_path) == expected
    assert made(tmp_path) == expected.keys()  # none was made twice


def test_when_one_of_two_is_killed_the_other_makes_the_rest(prepared, undisturbed, tmp_path):
    expected, seconds = undisturbed
    first, second = prepared.start(tmp_path), prepared.start(tmp_path)
    time.sleep(0.3 * seconds)
    os.kill(first, signal.SIGKILL)
    prepared.end(first)
    assert prepared.end(second) == 0
    assert files(tmp_path) == expected
    # The one that was killed may have written a picture and not yet said so.
    missing = expected.keys() - made(tmp_path)
    skipped = {line["file"] for line in read_manifest(tmp_path) if line["status"] == "skipped"}
    assert missing <= skipped
