"""Plans: ids that last, seeds, sweeps, shards."""

import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.attention.session import ATTACH_MODES
from promptweight.batch import plan_batch
from promptweight.batch.job_rows import Row
from promptweight.batch.jobs import Job
from promptweight.batch.plan import prompt_diagnostics
from promptweight.batch.sharding import Shard, choose_local_device, find_shard
from promptweight.batch.sweep import Sweep, parse_methods, parse_weights
from promptweight.errors import SettingError
from promptweight.generation.arguments import MAX_SEED, METHODS, MODES, NORMALIZERS
from promptweight.prompt import parse
from promptweight.prompt.weight_editing import places, with_weight
from promptweight.weighting.methods import METHODS as REAL_METHODS
from promptweight.weighting.methods import NORMALIZERS as REAL_NORMALIZERS


def plan(*prompts, sweep=None, model="mini", **values):
    rows = [Row("jobs.txt", line, {"prompt": prompt, **values}) for line, prompt in enumerate(prompts, 1)]
    return plan_batch(rows, sweep=sweep or Sweep(), model=model)


def test_names_without_torch_are_those_with_it():
    assert tuple(REAL_METHODS) == METHODS
    assert tuple(REAL_NORMALIZERS) == NORMALIZERS
    assert ATTACH_MODES == MODES


def test_an_id_is_the_same_in_another_process_file_and_order():
    forward = {each.job.prompt: each.id for each in plan("um gato", "um rato").pictures}
    backward = {each.job.prompt: each.id for each in plan("um rato", "x", "um gato").pictures}
    assert forward == {prompt: backward[prompt] for prompt in forward}
    code = (
        "from promptweight.batch import make_plan\nfrom promptweight.batch.job_rows import Row\n"
        "print(make_plan([Row('-', 9, {'prompt': 'um gato'})]).pictures[0].id)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == forward["um gato"]


def test_an_id_depends_on_every_setting():
    other = {
        "prompt": "um rato", "negative_prompt": "feio", "seed": 1, "method": "comfy", "normalizer": "mean",
        "space": "attention", "mode": "p2p", "clip_skip": 1, "pooled": "weighted", "dialect": "plain",
        "num_inference_steps": 3, "guidance_scale": 2.0, "height": 64, "width": 64, "scheduler": "DDIM",
        "balance": True,
    }  # fmt: skip
    assert set(other) == set(Job.__slots__)
    usual = {"prompt": "um gato", "seeds": (0,)}
    ids = {plan_batch([Row("-", 1, usual)]).pictures[0].id}
    for name, value in other.items():
        changed = {**usual, ("seeds" if name == "seed" else name): ((value,) if name == "seed" else value)}
        ids.add(plan_batch([Row("-", 1, changed)]).pictures[0].id)
    assert len(ids) == len(other) + 1


def test_an_id_depends_on_the_weights_of_the_model(model_folder, tmp_path):
    import shutil

    first = plan("um gato", model=str(model_folder)).pictures[0].id
    copy = shutil.copytree(model_folder, tmp_path / model_folder.name)
    assert plan("um gato", model=str(copy)).pictures[0].id == first
    weights = next(copy.glob("unet/*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert plan("um gato", model=str(copy)).pictures[0].id != first


def test_spelling_that_changes_nothing_is_the_same_picture():
    spelled = plan("um (gato:1.20) preto", "um (gato:1.2) preto", seeds=(1,))
    assert len(spelled.pictures) == 1
    assert [str(each) for each in spelled.problems] == ["jobs.txt:2:1: warning: the same picture as line 1"]


def test_a_row_without_a_seed_gets_one_of_its_own_that_lasts():
    first = plan("um gato", "um gato", "um rato")
    seeds = [each.job.seed for each in first.pictures]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert [each.job.seed for each in plan("um rato", "um gato", "um gato").pictures] == [
        seeds[2], seeds[0], seeds[1],
    ]  # fmt: skip


def test_count_makes_as_many_pictures():
    assert [each.job.seed for each in plan("um gato", seeds=(5,), count=3).pictures] == [5, 6, 7]
    assert len({each.job.seed for each in plan("um gato", count=4).pictures}) == 4


def test_choices_are_made_with_the_pictures_seed():
    made = plan("um {gato|rato|peixe} {azul|verde}", seeds=tuple(range(12)))
    prompts = {each.job.prompt for each in made.pictures}
    assert len(prompts) > 2
    assert not any("{" in prompt for prompt in prompts)
    assert made.pictures == plan("um {gato|rato|peixe} {azul|verde}", seeds=tuple(range(12))).pictures


def test_a_sweep_is_the_product_of_its_axes():
    sweep = Sweep(
        (1, 2), (parse_weights("gato=0.5,1,1.5"), parse_weights("rato=2")), parse_methods("a1111,logit")
    )
    made = plan("um gato e um rato", "uma casa", sweep=sweep).pictures
    first = [each for each in made if each.row.line == 1]
    assert len(first) == 2 * 3 * 1 * 2
    assert {(each.job.seed, each.job.method, each.job.space, each.job.mode) for each in first} == {
        (seed, *way) for seed in (1, 2)
        for way in (("a1111", "embedding", "logit"), (None, "attention", "logit"))
    }  # fmt: skip
    assert first[0].labels == ("gato ×0.5", "rato ×2", "a1111", "seed 1")
    read = [dict(parse(each.job.prompt).fragments) for each in first]
    assert {each.get("gato") for each in read} == {0.5, None, 1.5}
    assert len([each for each in made if each.row.line == 2]) == 2 * 2  # its prompt has no such words


def test_a_weight_for_a_word_that_no_prompt_holds_is_refused():
    with pytest.raises(SettingError, match="'cachorro', but no prompt holds it"):
        plan("um gato", sweep=Sweep(weights=(("cachorro", (1.5,)),)))


@pytest.mark.parametrize("text", ["gato", "=1", "gato=", "gato=1,x", "gato=nan", "gato=1e9"])
def test_axes_that_are_none_are_refused(text):
    with pytest.raises(SettingError, match="weights"):
        parse_weights(text)


@given(
    st.sampled_from(
        ["um gato", "um (gato:1.4)", "((gato)), x", "[gato] e GATO", "(um gato:1.3) [x]", "(a (gato:2):0.5)"]
    ),
    st.floats(0.1, 3).map(lambda weight: round(weight, 2)),
)
def test_a_weight_that_is_set_is_the_weight_that_is_read(prompt, weight):
    changed = parse(with_weight(prompt, "gato", weight, "pw"))
    found = places(changed, "gato")
    assert found
    for start, _ in found:
        span = next(span for span in changed.spans if span.clean_start <= start < span.clean_end)
        assert span.weight == pytest.approx(weight, rel=1e-4)
    assert changed.text == parse(prompt).text


def test_diagnostics_have_the_place_in_the_file():
    rows = [Row("a.txt", 3, {"prompt": "um (gato"}, {"prompt": 5})]
    assert next(str(each) for each in prompt_diagnostics(plan_batch(rows))).startswith("a.txt:3:8: warning: ")


@given(st.integers(0, 40), st.integers(1, 7))
def test_shards_share_everything_once(items, total):
    parts = [Shard(number, total).of(range(items)) for number in range(1, total + 1)]
    assert sorted(item for part in parts for item in part) == list(range(items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (1, 1)),
        ({"RANK": "1", "WORLD_SIZE": "4"}, (2, 4)),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}, (3, 3)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (1, 1)),  # the batch script itself, outside of a step
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}, (4, 4)),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "3"}, (3, 3)),
        (
            {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "2",
             "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"},
            (4, 4),
        ),
    ],
)  # fmt: skip
def test_the_part_is_what_the_launcher_says(environment, expected):
    assert find_shard(None, environment)[:2] == expected
    assert find_shard("2/3", environment)[:2] == (2, 3)


@pytest.mark.parametrize("given", ["0/2", "3/2", "2", "a/b", "-1/2", "1/0"])
def test_parts_of_no_whole_are_refused(given):
    with pytest.raises(SettingError, match="shard"):
        find_shard(given, {})
    with pytest.raises(SettingError):
        find_shard(None, {"RANK": "2", "WORLD_SIZE": "2"})


def test_a_process_of_several_on_a_cpu_stays_there():
    assert choose_local_device("auto", {"LOCAL_RANK": "1", "ACCELERATE_USE_CPU": "true"}) == "cpu"
    assert choose_local_device("cuda:3", {"LOCAL_RANK": "1"}) == "cuda:3"
    assert choose_local_device("auto", {}) == "auto"


def test_seeds_and_a_count_overlap_without_a_warning_and_stay_in_range():
    overlapping = plan("um gato", seeds=(1, 2), count=2)
    assert [each.job.seed for each in overlapping.pictures] == [1, 2, 3]
    assert not overlapping.problems
    assert len(plan("um gato", seeds=(MAX_SEED,)).pictures) == 1
    (problem,) = plan("um gato", seeds=(MAX_SEED,), count=2).problems
    assert str(2**63) in str(problem)
    (problem,) = plan("um gato", seeds=tuple(range(1000)), count=1_000_000).problems
    assert "more than 1000000 pictures" in str(problem)


def test_a_file_called_as_a_built_in_model_is_not_it(tmp_path, monkeypatch):
    before = plan("um gato").model
    (tmp_path / "mini").write_text("")
    monkeypatch.chdir(tmp_path)
    assert plan("um gato").model == before


def test_a_hub_model_is_loaded_at_the_commit_that_its_ids_are_made_of(model_folder, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = shutil.copytree(model_folder, tmp_path / "models--someone--tiny" / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(snapshot))
    assert plan("um gato", model="someone/tiny@main").model.source == f"someone/tiny@{commit}"
    assert plan("um gato", model=str(snapshot)).model.source == str(snapshot)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: 1 / 0)
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda *_, **__: str(snapshot))
    assert plan("um gato", model="someone/tiny").model.source == f"someone/tiny@{commit}"


def test_a_model_is_called_as_pictures_call_it(model_folder):
    assert plan("um gato", model=str(model_folder)).model.name == model_folder.name
    assert plan("um gato").model.name == "mini"
