"""Run of a batch: bit-identity with `generate`, resuming, shards, stopping and failures."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, load_file

import promptweight
from promptweight.batch import BatchProgress, OutputFolder, OutputOptions, Shard, Sweep, save_contact_sheets
from promptweight.batch.output_folder import read_manifest
from promptweight.batch.prompt_cache import PromptCache, join_encodings
from promptweight.batch.renderer import BatchRenderer
from promptweight.errors import SettingError
from promptweight.generation import early_warning
from promptweight.maps import serialize_maps
from promptweight.metadata import DIGITAL_SOURCE_TYPE, ImageMetadata, read_metadata
from promptweight.weighting import Weighting

PROMPTS = (
    "um gato", "um (gato:1.4) azul", "um gato [azul:verde:0.5]", "x AND y", "um (gato:2{steps=0-0.5})",
    "um (gato:=25%) azul",
)  # fmt: skip


def pixels(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(int)


def image_names(out):
    names = (path.name for path in out.iterdir())
    return sorted(name for name in names if re.fullmatch(r"\d{5}-\d+-[0-9a-f]{12}\.png", name))


def test_batch_of_one_is_generate_bit_for_bit(plan_of, run_in, tiny_pipe, tmp_path):
    plan = plan_of(*PROMPTS, num_inference_steps=2, negative_prompt="feio", guidance_scale=3.0)
    outcome, lines = run_in(plan)
    assert (outcome.ok, outcome.failed, outcome.left) == (len(PROMPTS), 0, 0), lines
    by_id = {line["id"]: line for line in lines}
    for planned in plan.images:
        path = tmp_path / "out" / f"{planned.stem}.png"
        expected = promptweight.generate(
            tiny_pipe, planned.job.prompt, negative_prompt="feio", num_inference_steps=2, guidance_scale=3.0,
            seed=1, record=False,
        )  # fmt: skip
        assert (pixels(path) == np.array(expected.images[0])).all()
        metadata = read_metadata(path)
        assert metadata.record == expected.record()
        assert metadata.infotext == expected.infotext()
        assert tuple(by_id[planned.id].get("warnings", ())) == expected.warnings
    manifest = list(read_manifest(tmp_path / "out"))
    assert manifest == lines
    assert [line["status"] for line in manifest] == ["ok"] * len(PROMPTS)
    assert all(line["seconds"] > 0 for line in manifest)


def test_early_warnings_are_those_of_generate(plan_of, run_in, tiny_pipe, monkeypatch):
    prompts = ("um gato azul e um rato verde", "um gato azul e um rato", "um gato")
    monkeypatch.setattr(early_warning, "find_leaks", early_warning.score_leaks)  # every phrase is a leak
    plan = plan_of(*prompts, num_inference_steps=10)
    outcome, lines = run_in(plan, batch_size=3, output_options=OutputOptions(maps=True))
    assert outcome.ok == 3
    by_id = {line["id"]: line.get("warnings", []) for line in lines}
    warnings = [by_id[planned.id] for planned in plan.images]
    assert [sum("no distinct attention region" in text for text in each) for each in warnings] == [2, 2, 0]
    for of_image, prompt in zip(warnings, prompts, strict=True):
        expected = promptweight.generate(tiny_pipe, prompt, num_inference_steps=10, seed=1)
        assert sorted(of_image) == sorted(expected.warnings)


@pytest.mark.parametrize("weighting", [None, "attention", "comfy"])
def test_larger_batch_is_generate_up_to_one_level(plan_of, run_in, tmp_path, tiny_pipe, weighting):
    long = "um gato " * 40  # two chunks: its embeddings have more rows
    prompts = (*PROMPTS, long, "a AND b AND [c|d]", "(um gato:0.5)")
    settings = {"num_inference_steps": 4, "negative_prompt": "feio [a:b:0.5]", "guidance_scale": 3.0}
    plan = plan_of(*prompts, weighting=Weighting.of(weighting), **settings)
    outcome, lines = run_in(plan, batch_size=len(prompts), output_options=OutputOptions(maps=True))
    assert outcome.ok == len(prompts), lines
    by_id = {line["id"]: line for line in lines}
    for planned in plan.images:
        alone = promptweight.generate(tiny_pipe, planned.job.prompt, seed=1, weighting=weighting, **settings)
        path = tmp_path / "out" / f"{planned.stem}.png"
        assert abs(pixels(path) - np.array(alone.images[0])).max() <= 1
        assert read_metadata(path).record == alone.record()
        assert tuple(by_id[planned.id].get("warnings", ())) == alone.warnings
        maps = load_file(path.with_suffix(".maps.safetensors"))["maps"]
        content = serialize_maps(alone.maps, alone.words, alone.prompt.text, alone.images[0].size)
        torch.testing.assert_close(maps, load(content)["maps"], rtol=1e-4, atol=1e-6)


def test_embeddings_do_not_depend_on_the_batch(plan_of, tiny_pipe):
    cache = PromptCache(tiny_pipe)
    jobs = [each.job for each in plan_of("um gato", "um (rato:1.4)", "x").images]
    joined = join_encodings([cache.prepare(job).encoded for job in jobs]).encoded
    alone = PromptCache(tiny_pipe).prepare(jobs[1]).encoded.encoded
    for name, rows in joined.inputs.items():
        assert torch.equal(rows[1:2], alone.inputs[name])


def test_finished_images_are_skipped_without_the_model(plan_of, run_in, tmp_path):
    run_in(plan_of("um gato", "um rato"))
    outcome, lines = run_in(plan_of("x", "um rato", "um gato"), limit=0, load=lambda: pytest.fail("loaded"))
    assert (outcome.ok, outcome.skipped, outcome.left) == (0, 2, 0)
    assert [line["status"] for line in lines] == ["skipped", "skipped"]
    assert len(list(read_manifest(tmp_path / "out"))) == 2  # one line for each image


def test_damaged_and_missing_images_are_drawn_again(plan_of, run_in, tmp_path):
    plan = plan_of("um gato", "um rato", "um peixe")
    run_in(plan)
    paths = [tmp_path / "out" / f"{each.stem}.png" for each in plan.images]
    contents = [path.read_bytes() for path in paths]
    paths[0].write_bytes(contents[0][:-20])
    paths[2].unlink()
    outcome, _ = run_in(plan)
    assert (outcome.ok, outcome.skipped) == (2, 1)
    assert [path.read_bytes() for path in paths] == contents


def test_limit_and_overwrite_choose_the_images(plan_of, run_in):
    plan = plan_of("um gato", "um rato", "um peixe")
    outcome, _ = run_in(plan, limit=2)
    assert (outcome.ok, outcome.skipped) == (2, 0)
    outcome, _ = run_in(plan, limit=1)
    assert (outcome.ok, outcome.skipped) == (1, 2)
    outcome, _ = run_in(plan, overwrite=True, limit=2)
    assert (outcome.ok, outcome.skipped) == (2, 0)


def test_shards_draw_every_image_once(plan_of, run_in, tmp_path):
    plan = plan_of("a", "b", "c", "d", "e")
    counts = [run_in(plan, shard=Shard(number, 3))[0].ok for number in (1, 2, 3)]
    assert counts == [2, 2, 1]
    assert image_names(tmp_path / "out") == [f"{each.stem}.png" for each in plan.images]


def test_failing_job_does_not_fail_its_batch(plan_of, run_in, tmp_path, monkeypatch):
    render_group = BatchRenderer.render_group

    def fail(self, jobs, loras):
        if any("rato" in each.prompt.text for each in jobs):
            raise RuntimeError("the kernel failed")
        return render_group(self, jobs, loras)

    monkeypatch.setattr(BatchRenderer, "render_group", fail)
    outcome, _ = run_in(plan_of("um gato", "um rato", "um peixe"), batch_size=3)
    assert (outcome.ok, outcome.failed, outcome.left) == (2, 1, 0)
    failed = [line for line in read_manifest(tmp_path / "out") if line["status"] == "failed"]
    assert [(each["line"], each["error"]) for each in failed] == [(2, "RuntimeError: the kernel failed")]


def test_settings_that_the_model_rejects_fail_before_the_first_image(plan_of, run_in, tmp_path):
    with pytest.raises(SettingError, match=r"^jobs\.txt:1:1: .*NoSuchScheduler"):
        run_in(plan_of("um gato", scheduler="NoSuchScheduler"))
    assert image_names(tmp_path / "out") == []


@pytest.mark.parametrize(("options", "name"), [({"batch_size": 0}, "batch_size"), ({"limit": -1}, "limit")])
def test_numbers_out_of_range_are_rejected(plan_of, run_in, options, name):
    with pytest.raises(SettingError, match=f"{name} must be at least"):
        run_in(plan_of("um gato"), **options)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' scheduler on numpy 2
def test_each_job_has_its_scheduler(plan_of, run_in, tiny_pipe):
    own = tiny_pipe.scheduler
    outcome, lines = run_in(plan_of("um gato", scheduler="Euler"))
    assert outcome.ok == 1, lines
    assert read_metadata(outcome.files[0]).record["sampler"] == "Euler"
    assert tiny_pipe.scheduler is own


def test_stop_level_one_finishes_the_image_and_two_drops_it(plan_of, run_in):
    class Stopped(BatchProgress):
        def __init__(self, wanted):
            super().__init__()
            self.wanted = wanted

        def on_step(self, step, steps, images):
            self.stop_level = self.wanted if self.done == 1 else 0
            return super().on_step(step, steps, images)

    plan = plan_of("a", "b", "c", num_inference_steps=2)
    outcome, _ = run_in(plan, progress=Stopped(2))
    assert (outcome.ok, outcome.left, outcome.is_stopped) == (1, 2, True)
    outcome, _ = run_in(plan, progress=Stopped(1))
    assert (outcome.ok, outcome.skipped, outcome.left, outcome.is_stopped) == (2, 1, 0, False)


def test_sweep_has_contact_sheets(plan_of, run_in, tmp_path):
    plan = plan_of("um gato", "x", sweep=Sweep((1, 2), (("gato", (0.5, 1.5)),)))
    run_in(plan)
    with OutputFolder(tmp_path / "out") as folder:
        sheets = list(save_contact_sheets(plan, folder))
    assert len(sheets) == 2
    with Image.open(sheets[0]) as sheet:
        assert min(sheet.size) > 2 * 256  # two seeds by two weights
    assert read_metadata(sheets[0]).digital_source_type == DIGITAL_SOURCE_TYPE


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_other_formats_have_the_same_metadata(plan_of, run_in, name):
    plan = plan_of("um (gato:1.2) à vista 🐱")
    outcome, _ = run_in(plan, output_options=OutputOptions(format=name))
    metadata = read_metadata(outcome.files[0])
    assert outcome.files[0].suffix == f".{name}"
    assert metadata.record["prompt"] == plan.images[0].job.prompt
    assert metadata.infotext.startswith(plan.images[0].job.prompt + "\nSteps: 1, ")
    assert run_in(plan, output_options=OutputOptions(format=name))[0].skipped == 1
    bare, _ = run_in(plan, output_options=OutputOptions(format=name, metadata=()), overwrite=True)
    assert read_metadata(bare.files[0]) == ImageMetadata(None, None, None)
