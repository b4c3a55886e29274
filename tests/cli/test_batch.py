"""`promptweight batch`: streams, exit codes, dry runs without torch."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import promptweight
from promptweight.batch import BatchProgress


@pytest.fixture
def batch(run, model_folder, tmp_path):
    """Function that runs `promptweight batch` on a job file with the tiny model."""

    def batch(jobs, *arguments):
        path = tmp_path / "jobs.txt"
        path.write_text(jobs)
        common = ["--model", model_folder, "--device", "cpu", "--steps", "1", "-o", tmp_path / "out"]
        code, out, err = run("batch", path, *common, *arguments)
        return code, out, err.replace(str(path), "jobs.txt")

    return batch


def test_file_names_go_to_stdout_and_the_rest_to_stderr(batch, tmp_path):
    code, out, err = batch("um gato --d 1\num (rato --d 2\n")
    assert code == 0
    assert sorted(out.splitlines()) == sorted(map(str, (tmp_path / "out").glob("*.png")))
    assert "jobs.txt:2:4: warning: " in err
    assert err.splitlines()[-1].startswith("2 drawn, 0 already finished, ")
    assert "\x1b" not in out + err
    code, out, err = batch("um gato --d 1\num (rato --d 2\n", "--json", "--quiet")
    assert (code, err) == (0, "")
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["skipped", "skipped"]


def test_errors_exit_with_2_before_a_model_is_loaded(batch, tmp_path, monkeypatch):
    monkeypatch.setattr("promptweight.models.load", lambda *_, **__: pytest.fail("loaded"))
    code, out, err = batch("um gato --stpes 3\num rato --d x\n")
    assert (code, out) == (2, "")
    assert [line.split(": ")[0] for line in err.splitlines()] == ["jobs.txt:1:9", "jobs.txt:2:13"]
    for wrong in (["--seeds", "x"], ["--weights", "gato"], ["--weightings", "a111"], ["--format", "gif"],
                  ["--metadata", "exif"], ["--shard", "3/2"], ["--overlay", "cachorro"],
                  ["--steps", "0"], ["--batch-size", "0"]):  # fmt: skip
        code, out, err = batch("um gato\n", *wrong)
        assert (code, out) == (2, ""), wrong
        assert err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seeds", "x"], "--seeds must be numbers and ranges"),
        (["--format", "gif"], "--format must be one of: png, jpeg, webp, avif; got 'gif'"),
        (["--input-format", "gif"], "--input-format must be one of: txt, csv, jsonl, json; got 'gif'"),
        (["--shard", "3/2"], "--shard must be i/n with i from 1 to n"),
        (["--wildcards", "none"], "--wildcards must be a folder; got 'none'"),
    ],
)
def test_errors_name_the_option(batch, arguments, text):
    code, out, err = batch("um gato\n", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {text}")


def test_output_that_is_a_file_is_refused(batch, tmp_path):
    (tmp_path / "out").write_text("a text")
    code, out, err = batch("um gato\n")
    assert (code, out) == (1, "")
    assert "is not a folder, so no file can be written into it" in err


def test_failed_image_and_missing_file_exit_with_1(batch, run, monkeypatch):
    def fail(*_):
        raise ValueError("no")

    monkeypatch.setattr("promptweight.batch.renderer.BatchRenderer.render_group", fail)
    code, out, err = batch("um gato\n")
    assert (code, out) == (1, "")
    assert "failed: image 1 (line 1): ValueError: no" in err
    assert run("batch", "/no/such/file.txt")[0] == 1


def test_read_only_folder_exits_with_1_before_a_model_is_loaded(batch, monkeypatch, tmp_path):
    def refuse(path, *_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr("promptweight.batch.output_folder.os.open", refuse)
    monkeypatch.setattr("promptweight.models.load", lambda *_, **__: pytest.fail("loaded"))
    code, out, err = batch("um gato\n")
    assert (code, out) == (1, "")
    assert "error: " in err
    assert "Read-only file system" in err
    assert str(tmp_path / "out") in err


@pytest.mark.parametrize(("presses", "drawn"), [(1, 2), (2, 1)])
def test_ctrl_c_once_finishes_the_image_and_twice_drops_it(batch, monkeypatch, tmp_path, presses, drawn):
    on_step = BatchProgress.on_step

    def interrupted(self, *arguments):
        result = on_step(self, *arguments)
        if self.done == 1:
            for _ in range(presses):
                os.kill(os.getpid(), signal.SIGINT)
            return on_step(self, *arguments)
        return result

    monkeypatch.setattr(BatchProgress, "on_step", interrupted)
    before = signal.getsignal(signal.SIGINT)
    code, out, err = batch("um gato --d 1-4\n")
    assert code == 130
    assert len(out.splitlines()) == drawn == len(list((tmp_path / "out").glob("*.png")))
    assert "press Ctrl-C again" in err
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("is_ignored", "code", "drawn"), [(False, 130, 2), (True, 0, 4)])
def test_end_of_the_terminal_finishes_the_image_unless_it_is_ignored(
    batch, monkeypatch, tmp_path, is_ignored, code, drawn
):
    on_step = BatchProgress.on_step

    def hung_up(self, *arguments):
        result = on_step(self, *arguments)
        if self.done == 1:
            os.kill(os.getpid(), signal.SIGHUP)
        return result

    monkeypatch.setattr(BatchProgress, "on_step", hung_up)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
    try:
        assert batch("um gato --d 1-4\n")[0] == code
    finally:
        signal.signal(signal.SIGHUP, before)
    assert len(list((tmp_path / "out").glob("*.png"))) == drawn


def test_closed_stdin_exits_with_2(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    code, out, err = run("batch", "-")
    assert (code, out) == (2, "")
    assert "stdin must be open" in err


def test_dry_run_prints_the_plan_with_tokens_and_writes_nothing(batch, tmp_path):
    long = "gato " * 100
    code, out, err = batch(f"um gato --d 1-2\n{long}\n", "--dry-run", "--json")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["status"] for line in lines] == ["to draw"] * 3
    assert [count["chunks"] for line in lines for count in line["tokens"]] == [1, 1, 2]
    assert not (tmp_path / "out").exists()
    code, out, err = batch("um gato --d 1-2\n", "--dry-run", "--shard", "2/2")
    assert out.split()[:2] == ["to", "draw"]
    assert "shard 2/2: 1 of 1 images to draw with tiny-random" in err


def test_dry_run_does_not_import_torch(tmp_path):
    (tmp_path / "jobs.csv").write_text("prompt,seed\num (gato:1.4) vermelho,1\n")
    code = f"""
import sys
from promptweight.cli import main
sys.argv = ["promptweight", "batch", {str(tmp_path / "jobs.csv")!r}, "--dry-run", "--seeds", "1-3",
            "--weights", "gato=0.5,1.5", "--weightings", "a1111,attention", "--scheduler", "Euler a"]
try:
    main()
except SystemExit as done:
    assert done.code == 0, done.code
print("torch" in sys.modules, "diffusers" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(promptweight.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False False"
    assert "12 of 12 images to draw with mini" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "add --ray"),
        (["--ray-address", "auto"], "add --ray"),
        (["--weighting", "comfy", "--weightings", "a1111,attention"], "give one of them"),
        (["--shard", "1/2", "--ray"], "give one of them"),
    ],
)
def test_options_without_effect_exit_with_2(batch, arguments, message):
    code, out, err = batch("um gato", *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_dry_run_has_a_line_for_each_image_whatever_its_prompt(run, tmp_path):
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"prompt": "um gato\\num rato", "seed": [1, 2]}')
    code, out, _ = run("batch", jobs, "-o", tmp_path / "out", "--dry-run")
    assert code == 0
    assert [line.split("tokens  ")[1] for line in out.splitlines()] == ["um gato⏎um rato"] * 2
    assert out.count("  default size  ") == 2
    assert "  64xdefault  " in run("batch", jobs, "-o", tmp_path / "out", "--dry-run", "--width", "64")[1]


def test_styles_are_merged_into_the_prompts_of_jobs(batch, tmp_path):
    styles = tmp_path / "styles.csv"
    styles.write_text("name,prompt,negative_prompt\nnoir,film noir,color\nportrait,portrait of {prompt},\n")
    jobs = "um gato --d 1\num rato --d 1 --styles portrait\n"
    code, out, _ = batch(jobs, "--dry-run", "--json", "--styles", styles, "--style", "noir")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["prompt"], line["negative_prompt"]) for line in lines] == [
        ("um gato, film noir", "color"),
        ("portrait of um rato", ""),
    ]
    code, out, err = batch(jobs, "--style", "noir")
    assert (code, out) == (2, "")
    assert "jobs.txt:1:1: styles need a file of styles (--styles FILE); got noir" in err


def test_random_seeds_are_kept_in_the_folder_and_recorded(batch, tmp_path):
    jobs = "um gato --d -1\num rato --d -1\n"
    code, out, err = batch(jobs, "--dry-run", "--json")
    assert code == 0
    assert "the run draws other random seeds" in err
    previewed = [json.loads(line)["seed"] for line in out.splitlines()]
    assert not (tmp_path / "out").exists()
    code, out, _ = batch(jobs, "--json", "--limit", "1")
    assert code == 0
    (drawn,) = (json.loads(line) for line in out.splitlines())
    assert drawn["seed"] not in previewed
    assert f"-{drawn['seed']}-" in drawn["file"]
    code, out, _ = batch(jobs, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["status"] for line in lines] == ["skipped", "ok"]
    assert lines[0]["seed"] == drawn["seed"]
    code, out, err = batch(jobs, "--dry-run", "--json")
    assert [json.loads(line)["seed"] for line in out.splitlines()] == [line["seed"] for line in lines]
    assert "random seeds" not in err


def test_characters_that_a_terminal_obeys_are_shown_as_others(run, tmp_path):
    prompt = "um gato\x1b]0;title\x07 \x9b2J \u202e(x"
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(json.dumps({"prompt": prompt, "steps": 1}) + "\n", encoding="utf-8")
    for arguments in ((), ("--json",)):
        code, out, err = run("batch", jobs, "-o", tmp_path / "out", "--dry-run", *arguments)
        assert code == 0
        assert "warning" in err
        for output in (out, err):
            assert all(letter.isprintable() or letter == "\n" for letter in output)
    assert json.loads(out)["prompt"] == prompt


def test_dry_run_plans_to_draw_an_image_whose_file_is_a_copy_of_another(batch, tmp_path):
    jobs = "um gato --d 1-2\n"
    code, out, _ = batch(jobs)
    assert code == 0
    first, second = (Path(line) for line in out.splitlines())
    assert "0 of 2 images to draw" in batch(jobs, "--dry-run")[2]
    second.write_bytes(first.read_bytes())
    assert "1 of 2 images to draw" in batch(jobs, "--dry-run")[2]
