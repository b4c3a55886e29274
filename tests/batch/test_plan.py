"""Plans: stable ids, seeds and sweeps."""

import shutil
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.attention import NegativeGuidance
from promptweight.batch import JOB_OPTIONS, Row, Sweep, parse_weightings, parse_weights, plan_batch
from promptweight.errors import SettingError
from promptweight.generation import MAX_SEED
from promptweight.prompt import find_phrase, parse, set_weight, to_fragments
from promptweight.weighting import Weighting


def plan(*prompts, sweep=None, model="mini", **values):
    rows = [Row("jobs.txt", line, {"prompt": prompt, **values}) for line, prompt in enumerate(prompts, 1)]
    return plan_batch(rows, sweep=sweep or Sweep(), model=model)


def test_id_is_equal_in_another_process_file_and_order():
    forward = {each.job.prompt: each.id for each in plan("um gato", "um rato").images}
    backward = {each.job.prompt: each.id for each in plan("um rato", "x", "um gato").images}
    assert forward == {prompt: backward[prompt] for prompt in forward}
    code = (
        "from promptweight.batch import Row, plan_batch\n"
        "print(plan_batch([Row('-', 9, {'prompt': 'um gato'})]).images[0].id)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == forward["um gato"]


def test_id_depends_on_every_setting():
    other = {
        "prompt": "um rato", "negative_prompt": "feio", "seeds": (1,), "weighting": Weighting("comfy"),
        "clip_skip": 1, "dialect": "plain", "num_inference_steps": 3, "guidance_scale": 2.0, "height": 64,
        "width": 64, "scheduler": "DDIM", "negative_guidance": NegativeGuidance("nag"),
    }  # fmt: skip
    assert set(other) == {option.field for option in JOB_OPTIONS} - {"count", "batch_size", "scale", "styles"}
    usual = {"prompt": "um gato", "seeds": (0,)}
    ids = {plan_batch([Row("-", 1, usual)]).images[0].id}
    for name, value in other.items():
        ids.add(plan_batch([Row("-", 1, {**usual, name: value})]).images[0].id)
    for weighting in (
        Weighting("comfy", normalizer="mean"), Weighting("comfy", pooled="weighted"),
        Weighting("comfy", layers="up"), Weighting("comfy", steps=(0, 0.5)), Weighting("attention"),
    ):  # fmt: skip
        ids.add(plan_batch([Row("-", 1, {**usual, "weighting": weighting})]).images[0].id)
    assert len(ids) == len(other) + 6


def test_id_depends_on_the_weights_of_the_model(model_folder, tmp_path):
    first = plan("um gato", model=str(model_folder)).images[0].id
    copy = shutil.copytree(model_folder, tmp_path / model_folder.name)
    assert plan("um gato", model=str(copy)).images[0].id == first
    weights = next(copy.glob("unet/*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert plan("um gato", model=str(copy)).images[0].id != first


def test_equal_prompts_with_other_spelling_are_one_image():
    spelled = plan("um (gato:1.20) preto", "um (gato:1.2) preto", seeds=(1,))
    assert len(spelled.images) == 1
    assert [str(each) for each in spelled.problems] == ["jobs.txt:2:1: warning: the same image as line 1"]


def test_row_without_a_seed_gets_a_stable_seed_of_its_own():
    first = plan("um gato", "um gato", "um rato")
    seeds = [each.job.seed for each in first.images]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert [each.job.seed for each in plan("um rato", "um gato", "um gato").images] == [
        seeds[2], seeds[0], seeds[1],
    ]  # fmt: skip


def test_count_adds_consecutive_seeds():
    assert [each.job.seed for each in plan("um gato", seeds=(5,), count=3).images] == [5, 6, 7]
    assert len({each.job.seed for each in plan("um gato", count=4).images}) == 4


def test_jobs_of_equal_settings_share_their_options():
    made = plan(
        "um gato", "um rato", seeds=(1, 2), weighting=Weighting("comfy"), negative_prompt="feio"
    ).images
    assert len({id(image.job.options) for image in made}) == 1
    assert made[0].job.options.seed is None
    chosen = plan("um gato", seeds=tuple(range(20)), negative_prompt="{feio|mau}").images
    assert len({id(image.job.options) for image in chosen}) == 2


def test_images_of_a_plan_take_little_memory():
    rows = [
        Row("-", line, {"prompt": f"um (gato:1.{line})", "seeds": tuple(range(500))}) for line in range(8)
    ]
    plan_batch(rows[:1])
    tracemalloc.start()
    made = plan_batch(rows)
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(made.images) == 4000
    assert memory / len(made.images) < 500


def test_choices_depend_on_the_seed():
    made = plan("um {gato|rato|peixe} {azul|verde}", seeds=tuple(range(12)))
    prompts = {each.job.prompt for each in made.images}
    assert len(prompts) > 2
    assert not any("{" in prompt for prompt in prompts)
    assert made.images == plan("um {gato|rato|peixe} {azul|verde}", seeds=tuple(range(12))).images


def test_sweep_is_the_product_of_its_axes():
    sweep = Sweep(
        (1, 2),
        (parse_weights("gato=0.5,1,1.5"), parse_weights("rato=2")),
        parse_weightings("a1111,attention"),
    )
    made = plan("um gato e um rato", "uma casa", sweep=sweep).images
    first = [each for each in made if each.row.line == 1]
    assert len(first) == 2 * 3 * 1 * 2
    assert {(each.job.seed, str(each.job.options.weighting)) for each in first} == {
        (seed, weighting) for seed in (1, 2) for weighting in ("a1111", "attention")
    }
    assert first[0].labels == ("gato ×0.5", "rato ×2", "a1111", "seed 1")
    read = [dict(to_fragments(parse(each.job.prompt).at())) for each in first]
    assert {each.get("gato") for each in read} == {0.5, None, 1.5}
    assert len([each for each in made if each.row.line == 2]) == 2 * 2  # its prompt has no such words


def test_sweep_weight_of_an_absent_word_is_rejected():
    with pytest.raises(SettingError, match="no prompt contains 'cachorro'"):
        plan("um gato", sweep=Sweep(weights=(("cachorro", (1.5,)),)))


@given(
    st.sampled_from(
        ["um gato", "um (gato:1.4)", "((gato)), x", "[gato] e GATO", "(um gato:1.3) [x]", "(a (gato:2):0.5)"]
    ),
    st.floats(0.1, 3).map(lambda weight: round(weight, 2)),
)
def test_weight_that_is_written_is_the_weight_that_is_parsed(prompt, weight):
    changed = parse(set_weight(prompt, "gato", weight, "pw")).at()
    found = find_phrase(changed, "gato")
    assert found
    for start, _ in found:
        span = next(span for span in changed.spans if span.clean_start <= start < span.clean_end)
        assert span.weight == pytest.approx(weight, rel=1e-4)
    assert changed.text == parse(prompt).at().text


def test_diagnostics_have_the_position_in_the_file():
    rows = [Row("a.txt", 3, {"prompt": "um (gato"}, {"prompt": 5})]
    (problem,) = plan_batch(rows).problems
    assert str(problem).startswith("a.txt:3:8: warning: ")


def test_overlapping_seeds_of_a_count_are_drawn_once_and_stay_in_range():
    overlapping = plan("um gato", seeds=(1, 2), count=2)
    assert [each.job.seed for each in overlapping.images] == [1, 2, 3]
    assert not overlapping.problems
    assert len(plan("um gato", seeds=(MAX_SEED,)).images) == 1
    (problem,) = plan("um gato", seeds=(MAX_SEED,), count=2).problems
    assert str(2**63) in str(problem)
    (problem,) = plan("um gato", seeds=tuple(range(1000)), count=1_000_000).problems
    assert "at most 1000000" in str(problem)


def test_file_with_the_name_of_a_built_in_model_is_ignored(tmp_path, monkeypatch):
    before = plan("um gato").model
    (tmp_path / "mini").write_text("")
    monkeypatch.chdir(tmp_path)
    assert plan("um gato").model == before


def test_hub_model_is_loaded_at_the_commit_in_its_ids(model_folder, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = shutil.copytree(model_folder, tmp_path / "models--someone--tiny" / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(snapshot))
    assert plan("um gato", model="someone/tiny@main").model.source == f"someone/tiny@{commit}"
    assert plan("um gato", model=str(snapshot)).model.source == str(snapshot)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: 1 / 0)
    index = snapshot / "model_index.json"
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(index))
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda *_, **__: str(snapshot))
    assert plan("um gato", model="someone/tiny").model.source == f"someone/tiny@{commit}"


def test_model_name_is_that_in_image_metadata(model_folder):
    assert plan("um gato", model=str(model_folder)).model.name == model_folder.name
    assert plan("um gato").model.name == "mini"
