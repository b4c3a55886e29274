"""Runs in their threads: progress, finish, stop, failure, previews."""

from itertools import islice
from types import SimpleNamespace

import pytest

from promptweight_ui import runs
from promptweight_ui.runs import Run, RunProgress


def count_steps(callback, images=2, steps=5):
    """A model that only counts; returns the last image and step."""
    for image in range(1, images + 1):
        for step in range(1, steps + 1):
            progress = SimpleNamespace(image_number=image, image_count=images, step=step, steps=steps)
            if callback(progress) is False:
                return image, step
    return images, steps


def reported(run):
    return [progress for progress in run.progress() if isinstance(progress, RunProgress)]


def test_run_reports_steps_in_order_and_returns():
    run = Run()
    run.start(count_steps)
    steps = [(each.image_number, each.step) for each in reported(run)]
    assert steps
    assert steps == sorted(set(steps))
    assert run.outcome == (2, 5)
    assert run.is_done


def test_stop_ends_the_run_after_the_present_step():
    run = Run()
    run.stop()
    run.start(count_steps)
    assert not [progress for progress in reported(run) if progress.step > 1]
    assert run.outcome == (1, 1)


def test_finish_ends_the_run_after_the_present_image():
    run = Run()
    run.finish()
    run.start(count_steps)
    reported(run)
    assert run.outcome == (1, 5)


def test_finish_after_stop_changes_nothing():
    run = Run()
    run.stop()
    run.finish()
    run.start(count_steps)
    reported(run)
    assert run.outcome == (1, 1)


def test_closed_iterator_stops_the_run():
    run = Run()
    run.start(lambda callback: count_steps(callback, images=10**12))
    progress = run.progress()
    list(islice(progress, 1))
    progress.close()
    assert run.wait(60)
    assert run.outcome[0] < 10**12


def test_outcome_raises_the_error_of_the_work():
    def fail(_callback):
        raise ValueError("no such thing")

    run = Run()
    run.start(fail)
    assert reported(run) == []
    with pytest.raises(ValueError, match="no such thing"):
        _ = run.outcome


def test_previews_wait_for_the_reader(monkeypatch):
    monkeypatch.setattr(runs, "MIN_PREVIEW_INTERVAL", 0)
    monkeypatch.setattr(runs, "MAX_PREVIEW_SHARE", 1)
    previews = []
    run = Run(lambda progress: previews.append(progress.step))
    run.start(lambda callback: count_steps(callback, images=1, steps=50))
    assert run.wait(60)
    assert len(previews) == 1  # the first preview was never read
    assert [progress.step for progress in reported(run)] == previews
