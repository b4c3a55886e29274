"""Runs in their threads: watched, finished, stopped, failed."""

import time
from itertools import islice
from types import SimpleNamespace

import pytest

from promptweight_ui.runs import News, Run


def steps(callback, pictures=2, each=5, made=None):
    """A model that does nothing but count; returns how far it came."""
    for picture in range(1, pictures + 1):
        for step in range(1, each + 1):
            time.sleep(0.001)
            if callback(SimpleNamespace(picture=picture, pictures=pictures, step=step, steps=each)) is False:
                return picture, step
    return pictures, each


def told(run):
    return [news for news in run.news() if isinstance(news, News)]


def test_a_run_tells_its_steps_and_returns():
    run = Run()
    run.start(steps)
    news = told(run)
    assert news
    assert [(each.picture, each.step) for each in news] == sorted({(n.picture, n.step) for n in news})
    assert run.outcome == (2, 5)
    assert run.is_done


def test_stop_ends_it_at_the_next_step():
    run = Run()
    run.stop()
    run.start(steps)
    assert not [news for news in told(run) if news.step > 1]
    assert run.outcome == (1, 1)


def test_finish_ends_it_with_the_picture():
    run = Run()
    run.finish()
    run.start(steps)
    told(run)
    assert run.outcome == (1, 5)


def test_finish_does_not_take_back_a_stop():
    run = Run()
    run.stop()
    run.finish()
    run.start(steps)
    told(run)
    assert run.outcome == (1, 1)


def test_a_watcher_that_goes_away_stops_it():
    run = Run()
    run.start(lambda callback: steps(callback, pictures=10_000))
    news = run.news()
    list(islice(news, 1))
    news.close()
    told(run)
    assert run.outcome[0] < 10_000


def test_what_goes_wrong_is_raised_to_whoever_asks():
    def fail(_callback):
        raise ValueError("no such thing")

    run = Run()
    run.start(fail)
    assert told(run) == []
    with pytest.raises(ValueError, match="no such thing"):
        _ = run.outcome


def test_showing_waits_for_whoever_looks():
    looked = []
    run = Run(lambda progress: looked.append(progress.step))
    run.start(lambda callback: steps(callback, pictures=1, each=50))
    while not run.is_done:
        time.sleep(0.01)
    assert len(looked) == 1  # nobody has taken the first look away
    assert [news.step for news in told(run)] == looked
