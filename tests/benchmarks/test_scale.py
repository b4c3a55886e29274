"""Simulation of a large batch: every image once, whatever is killed; balance; size of the manifest."""

import json
import re
from dataclasses import replace

import pytest

from promptweight.benchmarks import scale


@pytest.fixture(scope="module")
def plan():
    return scale.time_planning(scale.make_rows(41, 5))[0]


def test_rows_have_an_image_for_each_seed(plan):
    assert len(plan.images) == len({image.id for image in plan.images}) == 205
    assert {image.job.seed for image in plan.images} == set(range(5))
    assert not plan.problems


@pytest.mark.parametrize("kill_rate", [0.0, 0.3, 0.9])
def test_every_image_is_finished_once_whatever_is_killed(plan, kill_rate):
    outcome = scale.simulate_run(plan, 10, kill_rate=kill_rate)
    assert outcome.finished == {1: 205}
    assert (outcome.smallest, outcome.largest) == (20, 21)
    assert outcome.lost == outcome.kills
    assert (outcome.kills > 0) == (kill_rate > 0)
    assert outcome.longest >= 1
    assert outcome == scale.simulate_run(plan, 10, kill_rate=kill_rate)


def test_shards_without_images_have_no_work(plan):
    outcome = scale.simulate_run(replace(plan, images=plan.images[:3]), 5, kill_rate=0.5)
    assert (outcome.smallest, outcome.largest, outcome.finished) == (0, 1, {1: 3})


def test_manifest_is_measured_by_its_lines(plan):
    size, writing, reading = scale.measure_manifest(plan, 50)
    lines = []
    for image in plan.images[:50]:
        line = {"id": image.id, "status": "ok", "file": f"{image.stem}.png", "seconds": 1.234}
        line |= {"index": image.index, "line": image.row.line, "seed": image.job.seed}
        line |= {"prompt": image.job.prompt, "shard": "1/1000"}
        lines.append(json.dumps(line, ensure_ascii=False))
    assert size == sum(len(line.encode()) + 1 for line in lines) / 50
    assert writing > 0
    assert reading > 0


def test_report_has_every_figure(capsys):
    assert scale.main(["--jobs", "30", "--images", "400", "--shards", "7", "--kills", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "plan of 30 jobs" in out
    assert "plan of 400 images of 4 rows" in out
    assert "7 shards: 57 to 58 images" in out
    kills = re.search(r"(\d+) processes killed and started again, (\d+) images begun twice", out)
    assert kills[1] == kills[2]
    assert "400 images finished once, 0 never or more than once" in out
    assert "MB in all" in out


@pytest.mark.parametrize(
    "arguments", [["--shards", "0"], ["--images", "-1"], ["--kills", "1"], ["--kills", "nan"]]
)
def test_invalid_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        scale.main(arguments)
    assert left.value.code == 2
    assert "must be" in capsys.readouterr().err
