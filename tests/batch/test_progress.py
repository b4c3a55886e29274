"""Progress of a batch: counts, remaining time, and levels of stopping."""

import pytest

from promptweight.batch import BatchProgress


def test_remaining_time_is_the_mean_of_finished_images():
    progress = BatchProgress()
    progress.begin(10)
    assert progress.seconds_left() is None
    assert progress.text() == "0 of 10 images"
    progress.on_finished(1, 30.0)
    progress.on_finished(3, 90.0)
    assert progress.seconds_left() == pytest.approx(180.0)
    assert progress.text() == "4 of 10 images, 3 min left"


@pytest.mark.parametrize(
    ("level", "goes_on", "keeps"), [(0, True, True), (1, False, True), (2, False, False)]
)
def test_stop_level_ends_the_run_or_its_images(level, goes_on, keeps):
    progress = BatchProgress(stop_level=level)
    assert progress.goes_on is goes_on
    assert progress.on_step(1, 2, 4) is keeps
    assert progress.has_begun


def test_updates_count_fractions_of_images():
    updates = []
    progress = BatchProgress(on_update=lambda *update: updates.append(update[1:]))
    progress.begin(4)
    progress.on_step(1, 2, 2)
    progress.on_step(2, 2, 2)
    progress.on_finished(2, 1.0)
    assert updates == [(0, 4), (1.0, 4), (0, 4), (2, 4)]
