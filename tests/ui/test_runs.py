"""Runs in their threads: statuses, finish, stop, failure, previews."""

from itertools import islice
from threading import Event
from types import SimpleNamespace

import pytest
import torch

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight_ui import runs
from promptweight_ui.runs import Run, RunAbortedError, RunFailedError, closing, follow_run
from promptweight_ui.turns import Turns
from promptweight_ui.validation import PageError

PATIENCE = 60  # seconds


def count_steps(run, images=2, steps=5):
    """A model that only counts; returns the last image and step."""
    for image in range(1, images + 1):
        for step in range(1, steps + 1):
            progress = SimpleNamespace(image_number=image, image_count=images, step=step, steps=steps)
            if run.after_step(progress) is False:
                return image, step
    return images, steps


def reported(run):
    return [status.progress for status in run.statuses() if status.progress is not None]


def test_run_reports_steps_in_order_and_returns():
    run = Run(Turns())
    run.start(count_steps)
    steps = [(each.image_number, each.step) for each in reported(run)]
    assert steps
    assert steps == sorted(set(steps))
    assert run.outcome == (2, 5)
    assert run.is_done


def test_stop_ends_the_run_after_the_present_step():
    def stopped(run):
        run.stop()
        return count_steps(run)

    run = Run(Turns())
    run.start(stopped)
    assert not [progress for progress in reported(run) if progress.step > 1]
    assert run.outcome == (1, 1)


def test_stop_inside_a_step_ends_it(monkeypatch):
    monkeypatch.setattr(runs, "PATIENCE", 0)
    model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Identity()))
    entered = Event()

    def endless_step(run):
        with run.interrupting(SimpleNamespace(components={"unet": model, "scheduler": None})):
            while True:
                model(torch.zeros(1))
                entered.set()

    run = Run(Turns())
    run.start(endless_step)
    assert entered.wait(PATIENCE)
    run.stop()
    assert run.wait(PATIENCE)
    assert run.outcome is None
    model(torch.zeros(1))  # its hooks are gone


def test_stopped_step_has_time_to_end(monkeypatch):
    monkeypatch.setattr(runs, "PATIENCE", 1000)
    model = torch.nn.Sequential(torch.nn.Identity())

    def one_step(run):
        run.stop()
        with run.interrupting(SimpleNamespace(components={"unet": model})):
            model(torch.zeros(1))
        return count_steps(run)

    run = Run(Turns())
    run.start(one_step)
    assert run.wait(PATIENCE)
    assert run.outcome == (1, 1)


def test_stopped_run_leaves_the_queue_at_once():
    turns, release = Turns(), Event()
    first, second = Run(turns), Run(turns)
    first.start(lambda run: release.wait(PATIENCE))
    second.start(count_steps)
    assert next(second.statuses()).queue == (1, 1)
    second.stop()
    assert second.wait(PATIENCE)
    assert second.outcome is None
    assert not first.is_done
    release.set()
    assert first.wait(PATIENCE)


def test_stopped_run_keeps_its_turn_until_its_thread_has_ended():
    turns, release = Turns(), Event()
    first, second = Run(turns), Run(turns)
    first.start(lambda run: release.wait(PATIENCE))
    second.start(count_steps)
    first.stop()
    statuses = second.statuses()
    assert [status.queue for status in islice(statuses, 2)] == [(1, 1)] * 2
    release.set()
    assert [each.step for status in statuses if (each := status.progress)]
    assert second.outcome == (2, 5)


def test_finish_ends_the_run_after_the_present_image():
    run = Run(Turns())
    run.finish()
    run.start(count_steps)
    reported(run)
    assert run.outcome == (1, 5)


def test_finish_after_stop_changes_nothing():
    def stopped(run):
        run.stop()
        run.finish()
        return count_steps(run)

    run = Run(Turns())
    run.start(stopped)
    reported(run)
    assert run.outcome == (1, 1)


def test_closed_iterator_stops_the_run():
    run = Run(Turns())
    run.start(lambda run: count_steps(run, images=10**12))
    statuses = run.statuses()
    list(islice(statuses, 1))
    statuses.close()
    assert run.wait(PATIENCE)
    assert run.outcome[0] < 10**12


def test_outcome_raises_the_error_of_the_work():
    def fail(_run):
        raise ValueError("no such thing")

    run = Run(Turns())
    run.start(fail)
    assert reported(run) == []
    with pytest.raises(ValueError, match="no such thing"):
        _ = run.outcome


def test_previews_wait_for_the_reader_and_steps_do_not(monkeypatch):
    monkeypatch.setattr(runs, "MIN_PREVIEW_INTERVAL", 0)
    monkeypatch.setattr(runs, "MAX_PREVIEW_SHARE", 1)
    previews = []

    def preview(progress):
        previews.append(progress.step)
        return progress.step

    run = Run(Turns(), preview)
    run.start(lambda run: count_steps(run, images=1, steps=50))
    assert run.wait(PATIENCE)
    assert previews == [1]  # it was never read
    assert [(progress.step, progress.preview) for progress in reported(run)] == [(50, 1)]


def test_new_run_of_a_session_stops_the_former():
    turns, session = Turns(), SimpleNamespace(run=None)
    messages = follow_run(turns, session, lambda run: count_steps(run, images=10**12), lambda status: status)
    next(messages)
    former = session.run
    assert list(follow_run(turns, session, count_steps, lambda status: None)) == []
    assert former.wait(PATIENCE)
    assert former.is_stopped
    assert not session.run.is_stopped


@pytest.mark.parametrize(
    ("error", "english", "portuguese"),
    [
        (
            SettingError(message("grid-axis-length", kind="x", number=0, most=2)),
            "must have 1 to 2",
            "de 1 a 2",
        ),
        (IndexError("index 26 of /home/ana/model"), "IndexError: index 26 of …", "IndexError: index 26"),
        (MemoryError(), "out of memory", "Faltou memória"),
        (RunAbortedError(), "RunAbortedError", "RunAbortedError"),
    ],
)
def test_last_message_of_a_failed_run_has_its_error_in_both_languages(error, english, portuguese, caplog):
    def fail():
        yield {"state": "running"}
        raise error

    messages = closing(fail(), "pt-br")
    assert next(messages) == {"state": "running"}
    last = next(messages)
    assert last["state"] == "failed"
    assert english in last["error"]["en"]
    assert portuguese in last["error"]["pt-br"]
    assert "/home" not in str(last)
    with pytest.raises(PageError) as caught:
        next(messages)
    assert portuguese in str(caught.value)
    assert caught.value.__cause__ is error
    assert ("a run failed" in caplog.text) == (not isinstance(error, SettingError))


def test_last_message_of_a_failed_run_has_its_finished_images():
    def fail():
        yield {"state": "running", "live": []}
        raise RunFailedError(IndexError("index 26 of /home/ana/model"), {"state": "done", "images": ["a"]})

    *_, last = _until_error(closing(fail(), "en"))
    assert (last["state"], last["images"]) == ("failed", ["a"])
    assert "IndexError: index 26 of …" in last["error"]["en"]


def _until_error(messages):
    try:
        yield from messages
    except PageError:
        return
