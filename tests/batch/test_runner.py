"""The run of a batch: the right pictures, only those that are missing, and nothing half done."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

import promptweight
from promptweight.batch import renderer
from promptweight.batch.output_folder import OutputFolder, read_manifest
from promptweight.batch.progress import BatchProgress
from promptweight.batch.prompt_cache import PromptCache, join_embeds
from promptweight.batch.sharding import Shard
from promptweight.batch.sweep import Sweep
from promptweight.batch.writer import OutputOptions
from promptweight.errors import SettingError
from promptweight.generation import early_warning
from promptweight.metadata import DIGITAL_SOURCE_TYPE, ImageMetadata, read_metadata


def pixels(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(int)


def pictures(out):
    names = (path.name for path in out.iterdir())
    return sorted(name for name in names if re.fullmatch(r"\d{5}-\d+-[0-9a-f]{12}\.png", name))


PROMPTS = (
    "um gato", "um (gato:1.4) azul", "um gato [azul:verde:0.5]", "x AND y", "um (gato:2{steps=0-0.5})",
    "um (gato:=25%) azul",
)  # fmt: skip


def test_one_by_one_they_are_the_pictures_of_generate_bit_for_bit(plan_of, run_in, tiny_pipe, tmp_path):
    plan = plan_of(*PROMPTS, num_inference_steps=2, negative_prompt="feio", guidance_scale=3.0)
    outcome, lines = run_in(plan)
    assert (outcome.ok, outcome.failed, outcome.left) == (len(PROMPTS), 0, 0), lines
    told = {line["id"]: line for line in lines}
    for planned in plan.pictures:
        path = tmp_path / "out" / f"{planned.stem}.png"
        same = promptweight.generate(
            planned.job.prompt, tiny_pipe, negative_prompt="feio", num_inference_steps=2, guidance_scale=3.0,
            seed=1, record=False,
        )  # fmt: skip
        assert (pixels(path) == np.array(same.images[0])).all()
        found = read_metadata(path)
        assert found.record == same.record()
        assert found.parameters == same.parameters()
        assert tuple(told[planned.id].get("warnings", ())) == same.warnings
    manifest = list(read_manifest(tmp_path / "out"))
    assert manifest == lines
    assert [line["status"] for line in manifest] == ["ok"] * len(PROMPTS)
    assert all(line["seconds"] > 0 for line in manifest)


def test_phrases_are_balanced_as_by_generate(plan_of, run_in, tiny_pipe, tmp_path):
    prompt = "um gato azul e um rato verde"
    plan = plan_of(prompt, "um gato", num_inference_steps=2, balance=True)
    outcome, lines = run_in(plan, batch_size=2)
    assert outcome.ok == 2
    same = promptweight.generate(prompt, tiny_pipe, num_inference_steps=2, seed=1, balance=True, record=False)
    path = tmp_path / "out" / f"{plan.pictures[0].stem}.png"
    assert (pixels(path) == np.array(same.images[0])).all()
    assert read_metadata(path).record == same.record()
    assert tuple(lines[0]["warnings"]) == same.warnings
    assert "balance needs at least two phrases" in lines[1]["warnings"][0]


def test_what_may_be_missing_is_told_as_by_generate(plan_of, run_in, tiny_pipe, tmp_path, monkeypatch):
    prompts = ("um gato azul e um rato verde", "um gato azul e um rato", "um gato")
    monkeypatch.setattr(
        early_warning, "leaks", early_warning.score_leaks
    )  # something is told of every phrase
    plan = plan_of(*prompts, num_inference_steps=10)
    outcome, lines = run_in(plan, batch_size=3, saving=OutputOptions(maps=True))
    assert outcome.ok == 3
    told = {line["id"]: line.get("warnings", []) for line in lines}
    said = [told[planned.id] for planned in plan.pictures]
    assert [sum("no distinct attention region" in each for each in of_picture) for of_picture in said] == [2, 2, 0]
    for of_picture, prompt in zip(said, prompts, strict=True):
        same = promptweight.generate(prompt, tiny_pipe, num_inference_steps=10, seed=1)
        assert sorted(of_picture) == sorted(same.warnings)


def test_together_they_differ_by_rounding_at_most_and_a_longer_mate_changes_nothing(
    plan_of, run_in, tmp_path, tiny_pipe
):
    long = "um gato " * 40  # two chunks: its embeddings have more rows
    plan = plan_of("um gato", "um (gato:1.4)", long, "um rato azul", num_inference_steps=2)
    outcome, _ = run_in(plan, batch_size=4)
    assert outcome.ok == 4
    for planned in plan.pictures:
        alone = promptweight.generate(
            planned.job.prompt, tiny_pipe, num_inference_steps=2, seed=1, record=False
        )
        together = pixels(tmp_path / "out" / f"{planned.stem}.png")
        assert abs(together - np.array(alone.images[0])).max() <= 1


def test_embeddings_do_not_depend_on_batch_mates(plan_of, tiny_pipe):
    known = PromptCache(tiny_pipe)
    jobs = [each.job for each in plan_of("um gato", "um (rato:1.4)", "x").pictures]
    joined = join_embeds([known.ready(job).encoded for job in jobs])
    fresh = PromptCache(tiny_pipe).ready(jobs[1]).encoded
    for name, rows in joined.inputs.items():
        assert torch.equal(rows[1:2], fresh.inputs[name])


def test_finished_pictures_are_skipped_without_the_model(plan_of, run_in, tmp_path):
    run_in(plan_of("um gato", "um rato"))
    outcome, lines = run_in(plan_of("x", "um rato", "um gato"), limit=0, load=lambda: pytest.fail("loaded"))
    assert (outcome.ok, outcome.skipped, outcome.left) == (0, 2, 0)
    assert [line["status"] for line in lines] == ["skipped", "skipped"]
    assert len(list(read_manifest(tmp_path / "out"))) == 2  # one line a picture


def test_damaged_and_missing_pictures_are_made_again(plan_of, run_in, tmp_path):
    plan = plan_of("um gato", "um rato", "um peixe")
    run_in(plan)
    paths = [tmp_path / "out" / f"{each.stem}.png" for each in plan.pictures]
    whole = [path.read_bytes() for path in paths]
    paths[0].write_bytes(whole[0][:-20])
    paths[2].unlink()
    outcome, _ = run_in(plan)
    assert (outcome.ok, outcome.skipped) == (2, 1)
    assert [path.read_bytes() for path in paths] == whole


def test_overwrite_and_limit(plan_of, run_in):
    plan = plan_of("um gato", "um rato", "um peixe")
    outcome, _ = run_in(plan, limit=2)
    assert (outcome.ok, outcome.skipped) == (2, 0)
    outcome, _ = run_in(plan, limit=1)
    assert (outcome.ok, outcome.skipped) == (1, 2)
    outcome, _ = run_in(plan, overwrite=True, limit=2)
    assert (outcome.ok, outcome.skipped) == (2, 0)


def test_shards_make_everything_once(plan_of, run_in, tmp_path):
    plan = plan_of("a", "b", "c", "d", "e")
    counts = [run_in(plan, shard=Shard(number, 3))[0].ok for number in (1, 2, 3)]
    assert counts == [2, 2, 1]
    assert pictures(tmp_path / "out") == [f"{each.stem}.png" for each in plan.pictures]


def test_nothing_is_read_ahead_while_a_picture_is_drawn_alone(plan_of, run_in, monkeypatch):
    """It reads its own prompt, by the same text encoders."""
    real_ready, real_alone, order = PromptCache.ready, renderer.BatchRenderer._draw_alone, []

    def ready(self, job):
        order.append(job.prompt)
        return real_ready(self, job)

    def draw_alone(self, job):
        made = real_alone(self, job)
        order.append("drawn")
        return made

    monkeypatch.setattr(PromptCache, "ready", ready)
    monkeypatch.setattr(renderer.BatchRenderer, "_draw_alone", draw_alone)
    outcome, lines = run_in(plan_of("x AND y", "um gato"))
    assert outcome.ok == 2, lines
    assert order == ["x AND y", "drawn", "um gato"]


def test_a_failing_job_fails_alone(plan_of, run_in, tmp_path, tiny_pipe, monkeypatch):
    real = renderer.BatchRenderer._draw_together

    def fail(self, jobs):
        if any("rato" in each.prompt.text for each in jobs):
            raise RuntimeError("the kernel is unwell")
        return real(self, jobs)

    monkeypatch.setattr(renderer.BatchRenderer, "_draw_together", fail)
    outcome, _ = run_in(plan_of("um gato", "um rato", "um peixe"), batch_size=3)
    assert (outcome.ok, outcome.failed, outcome.left) == (2, 1, 0)
    failed = [line for line in read_manifest(tmp_path / "out") if line["status"] == "failed"]
    assert [(each["line"], each["error"]) for each in failed] == [(2, "RuntimeError: the kernel is unwell")]


def test_settings_that_the_model_refuses_are_told_before_the_first_picture(plan_of, run_in, tmp_path):
    with pytest.raises(SettingError, match=r"^jobs\.txt:1:1: scheduler is 'NoSuchScheduler'"):
        run_in(plan_of("um gato", scheduler="NoSuchScheduler"))
    assert pictures(tmp_path / "out") == []


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' scheduler on numpy 2
def test_each_job_has_its_scheduler(plan_of, run_in, tiny_pipe, tmp_path):
    own = tiny_pipe.scheduler
    plan = plan_of("um gato", scheduler="Euler")
    outcome, lines = run_in(plan)
    assert outcome.ok == 1, lines
    assert read_metadata(outcome.files[0]).record["sampler"] == "Euler"
    assert tiny_pipe.scheduler is own


def test_stopping_once_finishes_the_picture_and_twice_leaves_it(plan_of, run_in, tmp_path):
    class Pressed(BatchProgress):
        def __init__(self, presses):
            super().__init__()
            self.wanted = presses

        def step(self, step, steps, pictures):
            self.presses = self.wanted if self.done == 1 else 0
            return super().step(step, steps, pictures)

    plan = plan_of("a", "b", "c", num_inference_steps=2)
    outcome, _ = run_in(plan, watch=Pressed(2))
    assert (outcome.ok, outcome.left, outcome.is_stopped) == (1, 2, True)
    outcome, _ = run_in(plan, watch=Pressed(1))
    assert (outcome.ok, outcome.skipped, outcome.left, outcome.is_stopped) == (2, 1, 0, False)


def test_a_sweep_has_a_contact_sheet(plan_of, run_in, tmp_path):
    from promptweight.batch.contact_sheets import save_contact_sheets

    plan = plan_of("um gato", "x", sweep=Sweep((1, 2), (("gato", (0.5, 1.5)),)))
    run_in(plan)
    with OutputFolder(tmp_path / "out") as there:
        sheets = list(save_contact_sheets(plan, there))
    assert len(sheets) == 2
    with Image.open(sheets[0]) as sheet:
        assert min(sheet.size) > 2 * 256  # two seeds by two weights
    assert read_metadata(sheets[0]).digital_source_type == DIGITAL_SOURCE_TYPE


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_other_formats_carry_the_same(plan_of, run_in, tmp_path, name):
    plan = plan_of("um (gato:1.2) à vista 🐱")
    outcome, _ = run_in(plan, saving=OutputOptions(format=name))
    found = read_metadata(outcome.files[0])
    assert outcome.files[0].suffix == f".{name}"
    assert found.record["prompt"] == plan.pictures[0].job.prompt
    assert found.parameters.startswith(plan.pictures[0].job.prompt + "\nSteps: 1, ")
    assert run_in(plan, saving=OutputOptions(format=name))[0].skipped == 1
    bare, _ = run_in(plan, saving=OutputOptions(format=name, metadata=()), overwrite=True)
    assert read_metadata(bare.files[0]) == ImageMetadata(None, None, None)
