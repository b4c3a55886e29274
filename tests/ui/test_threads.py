"""Threads that compute are stopped and waited for before the process exits."""

import os
import subprocess
import sys
from threading import Event

import pytest

from promptweight_ui import threads

PATIENCE = 60  # seconds
EXIT_WHILE_RUNNING = """
from threading import Event
from promptweight import generate
from promptweight_ui.models import Models
from promptweight_ui.runs import Run

models, begun = Models(), Event()

def work(run):
    def callback(progress):
        begun.set()
        return run.after_step(progress)

    with models.use("mini") as pipe:
        generate(pipe, "a red cat", num_inference_steps=1000, callback=callback)

Run(models.turns).start(work)
assert begun.wait(60)
print("step done")
"""


@pytest.fixture
def not_exiting(monkeypatch):
    monkeypatch.setattr(threads, "_is_exiting", Event())
    monkeypatch.setattr(threads, "_threads", {})


@pytest.mark.usefixtures("not_exiting")
def test_threads_are_asked_to_stop_and_waited_for():
    begun, asked, ended = Event(), Event(), []

    def wait_for_stop():
        begun.set()
        assert asked.wait(PATIENCE)
        ended.append("stopped")

    def wait_for_exit():
        while not threads.is_exiting():
            pass
        ended.append("exited")

    both = [
        threads.start_thread("run", wait_for_stop, asked.set),
        threads.start_thread("example", wait_for_exit),
    ]
    assert begun.wait(PATIENCE)
    threads.stop_threads()
    assert sorted(ended) == ["exited", "stopped"]
    assert not any(each.is_alive() for each in both)


@pytest.mark.usefixtures("not_exiting")
def test_a_thread_that_does_not_end_is_waited_for_no_longer_than_the_limit(monkeypatch):
    monkeypatch.setattr(threads, "MAX_WAIT", 0.01)
    end = Event()
    thread = threads.start_thread("load model", end.wait)
    threads.stop_threads()
    assert thread.is_alive()
    end.set()
    thread.join(PATIENCE)


def test_a_process_exits_without_abort_while_an_image_is_made():
    finished = subprocess.run(
        [sys.executable, "-c", EXIT_WHILE_RUNNING],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.stdout == "step done\n"
    assert finished.returncode == 0, finished.stderr
