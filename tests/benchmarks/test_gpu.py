"""GPU benchmark: every model to its end in tiny sizes, reasons of what is not measured, and arguments."""

import sys

import pytest
import torch

from promptweight.benchmarks import gpu, peers
from promptweight.benchmarks.models import ARCHITECTURES

CASES = ["plain", "recorded", "weighted", "both", "naive softmax"]
PEER = """
calls = []

class AttentionCapture:
    def __init__(self, pipe, *, relations, timesteps):
        self.pipe, self.settings = pipe, (relations, timesteps)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        calls.append("exit")

    def clear(self):
        calls.append("clear")

    def compute(self):
        calls.append("compute")
"""


def table_of(text):
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_small_benchmark_measures_every_case_of_every_model(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    out = tmp_path / "gpu.md"
    assert gpu.main(["--small", "--rounds", "1", "--steps", "1", "--out", str(out)]) == 0
    assert capsys.readouterr().out == out.read_text()
    rows = table_of(out.read_text())
    assert [(row[0], row[2]) for row in rows] == [(model, case) for model in ARCHITECTURES for case in CASES]
    assert all(float(row[3]) > 0 for row in rows)
    assert {row[4] for row in rows if row[2] == "plain"} == {"1.000"}
    head = out.read_text().splitlines()[0]
    assert f"torch {torch.__version__}" in head
    assert "bfloat16" in head


def test_peer_is_measured_where_it_is_installed(tmp_path, monkeypatch):
    (tmp_path / "attention_map_diffusers.py").write_text(PEER)
    monkeypatch.syspath_prepend(str(tmp_path))
    report = gpu.measure_model("sd15", "cpu", "float32", rounds=1, steps=1, small=True)
    assert [timing.case for timing in report.timings] == [*CASES, peers.RECORDER]
    assert sys.modules["attention_map_diffusers"].calls == ["clear", "compute", "exit"] * 2
    monkeypatch.delitem(sys.modules, "attention_map_diffusers")


def test_case_that_fails_is_named_and_others_are_measured(monkeypatch):
    list_cases = gpu.list_cases

    def with_failure(subject):
        def fail():
            raise torch.OutOfMemoryError("CUDA out of memory | 1 GiB")

        return {**list_cases(subject), "recorded": fail}

    monkeypatch.setattr(gpu, "list_cases", with_failure)
    report = gpu.measure_model("sd35-medium", "cpu", "float32", rounds=1, steps=1, small=True)
    assert "recorded" not in [timing.case for timing in report.timings]
    assert "both" in [timing.case for timing in report.timings]
    text = gpu.format_report("a machine", [report], rounds=1, steps=1)
    assert "| recorded | not measured: OutOfMemoryError: CUDA out of memory \\| 1 GiB |" in text


def test_model_that_cannot_be_built_and_time_that_is_over_are_named(monkeypatch):
    def build(model, *_, **__):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(gpu, "build_denoiser", build)
    (failed,) = gpu.measure(["flux"], "cpu", "float32", small=True)
    assert failed.failures == {"": "OutOfMemoryError: no room"}
    (late,) = gpu.measure(["flux"], "cpu", "float32", minutes=0, small=True)
    assert late.failures == {"": "the 0 minutes were over"}


def test_invalid_arguments_are_refused(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments, text in (
        (["sd14"], "got sd14"),
        (["--rounds", "0", "--small"], "must be 1 or more"),
        (["--device", "cpu"], "no GPU is available"),
    ):
        with pytest.raises(SystemExit) as left:
            gpu.main(arguments)
        assert left.value.code == 2
        assert text in capsys.readouterr().err


def test_tests_are_those_of_the_checkout(monkeypatch):
    commands = []

    class Ended:
        returncode = 5

    monkeypatch.setattr(gpu.subprocess, "run", lambda command: commands.append(command) or Ended)
    assert gpu.run_tests() == 5
    (command,) = commands
    assert command[1:5] == ["-m", "pytest", "-q", "-m"]
    assert command[5] == "gpu"
    assert command[6].endswith("tests")
