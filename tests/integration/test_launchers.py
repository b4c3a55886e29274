"""Batches under real launchers: two processes of accelerate, and a Ray cluster whose workers die."""

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import promptweight
from promptweight.batch import is_complete_image
from promptweight.batch.output_folder import read_manifest

pytestmark = [
    pytest.mark.launch,
    pytest.mark.skipif(os.name != "posix", reason="the launchers run on POSIX systems"),
]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")

IMAGES = 12


@pytest.fixture
def jobs(tmp_path):
    path = tmp_path / "jobs.txt"
    path.write_text(f"um gato --s 2 --d 1-{IMAGES // 2}\num (rato:1.4) --s 2 --d 1-{IMAGES // 2}\n")
    return path


def run_python(*arguments):
    """Run this Python with arguments and this package; return the finished process."""
    place = Path(promptweight.__file__).parents[1]
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )


def check_images(out, printed):
    """Check that every image is complete, logged and printed once; return the manifest."""
    images = sorted(out.glob("*.png"))
    assert len(images) == IMAGES
    assert all(is_complete_image(path) for path in images)
    ids = {path.stem.rpartition("-")[2] for path in images}
    assert len(ids) == IMAGES
    assert sorted(printed) == list(map(str, images))
    lines = list(read_manifest(out))
    assert {line["id"] for line in lines if line["status"] != "failed"} == ids
    assert set(Counter(line["id"] for line in lines if line["status"] == "ok").values()) <= {1}
    assert not list(out.glob(".*.tmp"))
    return lines


def test_two_processes_of_accelerate_draw_half_each(jobs, model_folder, tmp_path):
    launch = [
        "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
    ]  # fmt: skip
    batch = ["-m", "promptweight", "batch", jobs, "-o", tmp_path / "out", "--model", model_folder]
    done = run_python(*launch, *batch, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    lines = check_images(tmp_path / "out", done.stdout.splitlines())
    assert Counter(line["shard"] for line in lines) == {"1/2": IMAGES // 2, "2/2": IMAGES // 2}
    assert "shard 1/2: 6 drawn" in done.stderr
    assert "shard 2/2: 6 drawn" in done.stderr


DYING = """
import os, signal, sys
from dataclasses import dataclass

from promptweight.batch import plan
from promptweight.cli import main

DRIVER, FLAG, POISON = os.getpid(), sys.argv.pop(1), "veneno"


@dataclass(frozen=True)
class DyingPlan(plan.Plan):
    '''Plan that kills one worker at its second batch, and every worker at the poisoned image.'''

    def with_images(self, images):
        if os.getpid() != DRIVER:
            is_poisoned = any(POISON in image.job.prompt for image in images)
            has_drawn = hasattr(sys, "batches_of_this_worker")
            sys.batches_of_this_worker = True
            if is_poisoned or (has_drawn and create(FLAG)):
                os.kill(os.getpid(), signal.SIGKILL)
        return super().with_images(images)


def create(path):
    try:
        open(path, "x").close()
    except FileExistsError:
        return False
    return True


plan.Plan = DyingPlan
main()
"""


@needs_ray
def test_dying_ray_workers_lose_no_image_but_the_one_that_kills_them(jobs, model_folder, tmp_path):
    with jobs.open("a") as file:
        file.write("veneno --s 1 --d 1\n")
    done = run_python(
        "-c", DYING, tmp_path / "killed", "batch", jobs, "-o", tmp_path / "out", "--model", model_folder,
        "--device", "cpu", "--ray", "--workers", "2", "--batch-size", "2",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "killed").exists()
    lines = check_images(tmp_path / "out", done.stdout.splitlines())
    (failed,) = (line for line in lines if line["status"] == "failed")
    assert failed["prompt"] == "veneno"
    assert "workers died" in failed["error"]
    assert f"{IMAGES} drawn, 0 already finished, 1 failed" in done.stderr
