"""Batch runs killed at a given write, and two in one folder: no image is lost, incomplete or drawn twice."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import promptweight
from promptweight.batch import is_complete_image
from promptweight.batch.output_folder import read_manifest

pytestmark = [
    pytest.mark.launch,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked from a prepared process"),
]

IMAGES = 8
EVENTS_PER_IMAGE = 5
"""Events of `PREPARED` for one image: content, fsync, rename, fsync of the folder, line of the manifest."""
PREPARED = """
import json, os, signal, sys
import torch

torch.set_num_threads(1)
from promptweight import models
from promptweight.batch import LocalExecutor, OutputFolder, plan_batch, read_jobs, run
from promptweight.batch import oom_fallback, prompt_cache, renderer, worker, writer
import promptweight.attention.session, promptweight.conditioning.encoding

pipe = models.load(sys.argv[1], device="cpu")
plan = plan_batch(read_jobs(sys.argv[2]), model=sys.argv[1])


def kill_at(number):
    '''Kill this process before the event with this number, from 1: a write, sync, rename or manifest line.'''
    count = 0

    def event():
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(function):
        def call(*arguments, **options):
            event()
            return function(*arguments, **options)
        return call

    write_atomically = writer.write_atomically
    writer.write_atomically = lambda path, write, **options: write_atomically(path, counted(write), **options)
    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    OutputFolder.append_line = counted(OutputFolder.append_line)


print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if child == 0:
        kill_at(order["kill_at"])
        outcome = run(plan, order["folder"], executor=LocalExecutor(lambda: pipe))
        os._exit(0 if outcome.left == outcome.failed == 0 else 3)
    print(child, flush=True)
"""


class Prepared:
    """Process with the model loaded that forks runs of one plan."""

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

    def start(self, folder: Path, kill_at: int | None = None) -> int:
        """Start a run that is killed before its event `kill_at`; return its process id."""
        return self._order({"folder": str(folder), "kill_at": kill_at})

    def wait(self, run: int) -> int:
        """Wait for a run; return its exit code, negative for a signal."""
        return self._order({"wait": run})

    def _order(self, order: dict[str, object]) -> int:
        self.process.stdin.write(json.dumps(order) + "\n")
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def prepared(model_folder, tmp_path_factory):
    jobs = tmp_path_factory.mktemp("jobs") / "jobs.txt"
    jobs.write_text(f"um (gato:1.4) --s 1 --d 1-{IMAGES}\n")
    process = Prepared(model_folder, jobs)
    yield process
    process.process.stdin.close()
    assert process.process.wait() == 0
    process.process.stdout.close()


@pytest.fixture(scope="module")
def expected(prepared, tmp_path_factory):
    """The files of a run without kills."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert prepared.wait(prepared.start(folder)) == 0
    return image_files(folder)


def image_files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def logged_files(folder):
    """Return the files with an `ok` line in the manifest, each once."""
    names = [line["file"] for line in read_manifest(folder) if line["status"] == "ok"]
    assert len(set(names)) == len(names)
    return set(names)


def test_runs_killed_at_any_event_are_continued_without_loss(prepared, expected, tmp_path):
    # Every event of an image once; then events of later images.
    for kill_at in (1, 2, 3, 4, 5, EVENTS_PER_IMAGE + 2, EVENTS_PER_IMAGE + 4):
        assert prepared.wait(prepared.start(tmp_path, kill_at)) == -signal.SIGKILL
        present = image_files(tmp_path)
        assert all(is_complete_image(tmp_path / name) for name in present)
        assert present.items() <= expected.items()
        assert logged_files(tmp_path) <= present.keys()
    present, logged = image_files(tmp_path), logged_files(tmp_path)
    assert present
    assert present.keys() < expected.keys()
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in present}
    assert prepared.wait(prepared.start(tmp_path)) == 0
    assert image_files(tmp_path) == expected
    assert logged_files(tmp_path) - logged == expected.keys() - present.keys()  # only the missing images
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in present} == times
    assert not list(tmp_path.glob(".*.tmp"))
    statuses = {line["id"]: line["status"] for line in read_manifest(tmp_path)}
    assert len(statuses) == IMAGES
    assert set(statuses.values()) <= {"ok", "skipped"}


def test_two_processes_in_one_folder_share_the_work(prepared, expected, tmp_path):
    runs = [prepared.start(tmp_path), prepared.start(tmp_path)]
    assert [prepared.wait(run) for run in runs] == [0, 0]
    assert image_files(tmp_path) == expected
    assert logged_files(tmp_path) == expected.keys()  # no image was drawn twice


@pytest.mark.parametrize("kill_at", [1, EVENTS_PER_IMAGE])
def test_process_draws_the_images_of_a_killed_one(prepared, expected, tmp_path, kill_at):
    first, second = prepared.start(tmp_path, kill_at), prepared.start(tmp_path)
    assert prepared.wait(first) == -signal.SIGKILL
    assert prepared.wait(second) == 0
    assert image_files(tmp_path) == expected
    # The killed process may have written an image without logging it.
    missing = expected.keys() - logged_files(tmp_path)
    skipped = {line["file"] for line in read_manifest(tmp_path) if line["status"] == "skipped"}
    assert missing <= skipped
