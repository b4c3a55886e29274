"""Batches under real launchers: two processes of accelerate, and a Ray cluster that loses a worker."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

import promptweight
from promptweight.batch.output_folder import is_complete_image, read_manifest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the launchers run on POSIX systems")
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")

PICTURES = 12


@pytest.fixture
def jobs(tmp_path):
    path = tmp_path / "jobs.txt"
    path.write_text(f"um gato --s 2 --d 1-{PICTURES // 2}\num (rato:1.4) --s 2 --d 1-{PICTURES // 2}\n")
    return path


def start(*arguments):
    """Starts this Python with arguments; the package is found where this one is."""
    place = Path(promptweight.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check(out, made):
    """Every picture is there, whole and once, and the manifest says so."""
    pictures = sorted(out.glob("*.png"))
    assert len(pictures) == PICTURES
    assert all(is_complete_image(path) for path in pictures)
    assert len({path.stem.rpartition("-")[2] for path in pictures}) == PICTURES
    assert sorted(made) == list(map(str, pictures))
    lines = list(read_manifest(out))
    assert {line["id"] for line in lines} == {path.stem.rpartition("-")[2] for path in pictures}
    assert set(Counter(line["id"] for line in lines if line["status"] == "ok").values()) <= {1}
    assert not list(out.glob(".*.tmp"))
    return lines


def test_two_processes_of_accelerate_make_half_each(jobs, model_folder, tmp_path):
    launch = [
        "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
    ]  # fmt: skip
    batch = ["-m", "promptweight", "batch", jobs, "-o", tmp_path / "out", "--model", model_folder]
    process = start(*launch, *batch, "--device", "cpu")
    out, err = process.communicate()
    assert process.returncode == 0, err
    lines = check(tmp_path / "out", out.splitlines())
    assert Counter(line["shard"] for line in lines) == {"1/2": PICTURES // 2, "2/2": PICTURES // 2}
    assert "shard 1/2: 6 made" in err
    assert "shard 2/2: 6 made" in err


@needs_ray
def test_a_ray_worker_that_is_killed_half_way_loses_nothing(jobs, model_folder, tmp_path):
    process = start(
        "-m", "promptweight", "batch", jobs, "-o", tmp_path / "out", "--model", model_folder,
        "--device", "cpu", "--ray", "--workers", "2", "--batch-size", "2",
    )  # fmt: skip
    killed = False
    while process.poll() is None and not killed:
        time.sleep(0.05)
        if len(list((tmp_path / "out").glob("*.png"))) >= 2:
            for child in psutil.Process(process.pid).children(recursive=True):
                if not killed and "ray::MapWorker" in " ".join(child.cmdline()):
                    child.send_signal(signal.SIGKILL)
                    killed = True
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert killed
    check(tmp_path / "out", out.splitlines())


POISONED = """
import json, os, signal, sys
from dataclasses import dataclass, fields

from promptweight.batch import make_plan, read, run
from promptweight.batch.ray_backend import Cluster
from promptweight.batch.plan import Plan

DRIVER = os.getpid()


@dataclass(frozen=True)
class Poisoned(Plan):
    def taking(self, pictures):
        if os.getpid() != DRIVER and any("veneno" in each.job.prompt for each in pictures):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().taking(pictures)


jobs, output, model = sys.argv[1:]
plan = make_plan(read(jobs), model=model)
plan = Poisoned(*(getattr(plan, each.name) for each in fields(plan)))
lines = []
outcome = run(plan, output, cluster=Cluster(workers=2, device="cpu"), tell=lines.append)
print(json.dumps([outcome.ok, outcome.failed, outcome.left, lines]))
"""


@needs_ray
def test_a_picture_at_which_every_worker_dies_fails_alone(model_folder, tmp_path):
    jobs = tmp_path / "jobs.txt"
    jobs.write_text("um gato --s 1 --d 1-3\nveneno --s 1 --d 1\num rato --s 1 --d 1\n")
    process = start("-c", POISONED, jobs, tmp_path / "out", model_folder)
    out, err = process.communicate()
    assert process.returncode == 0, err
    ok, failed, left, lines = json.loads(out.splitlines()[-1])
    assert (ok, failed, left) == (4, 1, 0)
    (poisoned,) = (line for line in lines if line["status"] == "failed")
    assert poisoned["prompt"] == "veneno"
    assert "workers died" in poisoned["error"]
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert pictures == {line["file"] for line in lines if line["status"] == "ok"}
    assert len(pictures) == 4
    told = Counter((line["id"], line["status"]) for line in read_manifest(tmp_path / "out"))
    assert Counter(status for _, status in told) == {"ok": 4, "failed": 1}
    assert set(told.values()) == {1}
