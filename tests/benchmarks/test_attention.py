"""Attention benchmark: outputs of every case, restored models, argument checks and the command."""

import json
import sys
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch

from promptweight.attention.layout import read_layout
from promptweight.benchmarks.attention import (
    benchmark_attention,
    make_cases,
    naive_softmax,
    summarize,
    time_calls,
)
from promptweight.benchmarks.models import ARCHITECTURES, UNETS, build_denoiser, prepare_model
from promptweight.cli import main
from promptweight.errors import ModelError, SettingError

CASES = ["plain", "recorded", "weighted", "both", "naive softmax"]


def test_benchmark_attention_returns_timing_of_every_case():
    progress = []
    rows = benchmark_attention(
        "sd15", layers=1, size=8, rounds=2, device="cpu", progress=lambda *now: progress.append(now)
    )
    assert [row.case for row in rows] == CASES
    assert all(row.seconds > 0 and row.ratio_range[0] <= row.ratio <= row.ratio_range[1] for row in rows)
    assert (rows[0].ratio, rows[0].ratio_range) == (1, (1, 1))
    assert all(row.peak_mb is None or row.peak_mb > 100 for row in rows)  # torch alone holds more
    assert progress == [(done, 15) for done in range(1, 16)]


def test_summarize_computes_ratios_by_round():
    row = summarize("both", [2.0, 30.0, 6.0], [1.0, 10.0, 4.0], 5.0)
    assert (row.seconds, row.ratio, row.ratio_range, row.peak_mb) == (6.0, 2.0, (1.5, 3.0), 5.0)


def subjects(tiny):
    yield "unet", tiny.unet()
    yield "sd3", tiny.sd3_pipeline(qk_norm="rms_norm", dual_attention_layers=(0,)).transformer
    yield "flux", tiny.flux_pipeline().transformer


@pytest.mark.parametrize(("number", "text"), [(0, 77), (1, 333), (2, 256)])
def test_cases_outputs_agree_and_model_is_restored(tiny, number, text):
    family, denoiser = list(subjects(tiny))[number]
    subject = prepare_model(denoiser, 8)
    assert subject.encoded.inputs["prompt_embeds"].shape[1] == text
    assert ("negative_prompt_embeds" in subject.encoded.inputs) == (family != "flux")
    before = [(name, each, type(each)) for name, each in denoiser.attn_processors.items()]
    cases = make_cases(subject)
    assert list(cases) == CASES
    outputs = {}
    with torch.no_grad():
        for _ in range(2):  # a context is entered once per round; a session continues its recording
            for case, make_context in cases.items():
                with make_context() as session:
                    outputs[case] = subject.call().sample
                if case in ("recorded", "both"):
                    recorded = session.maps
    assert torch.equal(outputs["recorded"], outputs["plain"])
    assert torch.equal(outputs["both"], outputs["weighted"])
    assert not torch.allclose(outputs["weighted"], outputs["plain"], atol=1e-6)
    assert torch.allclose(outputs["naive softmax"], outputs["plain"], atol=1e-4)
    assert all((slot.counts == 2).all() for slot in recorded.recording.slots)
    assert 0 < recorded.word("cat").mass < 1
    assert [(name, each, type(each)) for name, each in denoiser.attn_processors.items()] == before


def test_naive_softmax_keeps_text_columns(tiny, monkeypatch):
    recorded = []
    from promptweight.benchmarks.attention import NaiveSoftmax

    attend = NaiveSoftmax.attend

    def recording_attend(self, *args, **kwargs):
        output = attend(self, *args, **kwargs)
        recorded.append(tuple(self.text_weights.shape))
        return output

    monkeypatch.setattr(NaiveSoftmax, "attend", recording_attend)
    shapes = {}
    for family, denoiser in subjects(tiny):
        subject = prepare_model(denoiser, 8)
        with naive_softmax(subject), torch.no_grad():
            subject.call()
        shapes[family] = set(recorded)
        recorded.clear()
    assert shapes == {"unet": {(64, 77), (16, 77)}, "sd3": {(16 + 333, 333)}, "flux": {(16 + 256, 256)}}


@pytest.mark.parametrize(
    ("model", "layers", "billions"),
    [
        ("sd15", 16, 0.860),
        ("sdxl", 70, 2.567),
        ("sd35-medium", 24, 2.244),
        ("flux", 19 + 38, 11.90),
        ("flux2-klein", 5 + 20, 3.876),
        ("z-image", 30, 6.155),
    ],
)
def test_build_denoiser_full_size_equals_published_models(model, layers, billions):
    """Number of layers with text attention, and of parameters; on the meta device."""
    denoiser = build_denoiser(model, None, "meta", "float32")
    component = "unet" if model in UNETS else "transformer"
    assert len(read_layout(SimpleNamespace(**{component: denoiser})).layers) == layers
    assert sum(each.numel() for each in denoiser.parameters()) / 1e9 == pytest.approx(billions, rel=0.01)
    assert model in ARCHITECTURES


@pytest.mark.parametrize(
    ("model", "layers", "expected"),
    [("sd15", 1, 2 + 1 + 3), ("sdxl", 1, 2 * (2 + 1 + 3)), ("sd35-medium", 2, 2)],
)
def test_build_denoiser_layers_limits_depth(model, layers, expected):
    denoiser = build_denoiser(model, layers, "meta", "bfloat16")
    component = "unet" if model in UNETS else "transformer"
    assert len(read_layout(SimpleNamespace(**{component: denoiser})).layers) == expected
    assert denoiser.dtype == torch.bfloat16


def test_benchmark_attention_invalid_arguments_raise():
    for settings, message in [
        ({"rounds": 0}, "rounds must be 1 or more; got 0"),
        ({"layers": 0}, "layers must be 1 or more; got 0"),
        ({"steps": -1}, "steps must be 1 or more; got -1"),
        ({"dtype": "float8"}, "dtype must be one of: .*; got 'float8'"),
        ({"device": "abacus"}, "device must be .*'abacus'"),
        ({"model": "mini", "layers": 1}, "layers must be None .* got 1 for mini"),
        ({"timer": "sundial"}, "timer must be one of: .*; got 'sundial'"),
    ]:
        with pytest.raises(SettingError, match=message):
            benchmark_attention(**settings)
    with pytest.raises(ModelError, match="got a Linear"):
        prepare_model(torch.nn.Linear(1, 1))


def test_time_calls_uses_the_chosen_timer(monkeypatch):
    """The clocks are replaced; the wall clock advances by 5 seconds, the processor clock by 1."""
    monkeypatch.setattr("promptweight.benchmarks.attention.perf_counter", iter([10.0, 15.0]).__next__)
    monkeypatch.setattr("promptweight.benchmarks.attention.process_time", iter([3.0, 4.0]).__next__)
    calls = []
    assert time_calls(lambda: calls.append(1), 2, "cpu", "wall")[0] == 5
    assert time_calls(lambda: calls.append(1), 3, "cpu", "processor")[0] == 1
    assert len(calls) == 5


def test_bench_command_prints_table_and_json(monkeypatch, capsys):
    rows = [summarize("plain", [2.0], [2.0], 100.0), summarize("both", [2.5], [2.0], None)]
    calls = []

    def measure(model, **settings):
        settings.pop("progress")(1, 2)
        calls.append((model, settings))
        return rows

    monkeypatch.setattr("promptweight.benchmarks.attention.benchmark_attention", measure)
    printed = []
    for arguments in (["--model", "sdxl", "--layers", "1", "--device", "cpu"], ["--json", "--repeats", "2"]):
        monkeypatch.setattr(sys, "argv", ["promptweight", "bench", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            main()
        assert exit_info.value.code == 0
        printed.append(capsys.readouterr().out)
    assert [(model, each["layers"], each["rounds"]) for model, each in calls] == [
        ("sdxl", 1, 5),
        ("sd15", None, 2),
    ]
    assert "1.250" in printed[0]
    assert "unknown" in printed[0]
    assert json.loads(printed[1])["cases"] == json.loads(json.dumps([asdict(row) for row in rows]))
