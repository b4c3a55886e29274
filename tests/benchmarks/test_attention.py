"""The benchmark: every way does what it says and leaves the model as it was; the command shows figures."""

import json
import math
import sys
import time
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch

from promptweight.attention.layers import read_layout
from promptweight.benchmarks.attention import bench, naive, summary, timed, ways_of
from promptweight.benchmarks.models import ARCHITECTURES, build, prepare
from promptweight.cli import main
from promptweight.errors import ModelError, SettingError

WAYS = ["plain", "recorded", "weighted", "both", "naive softmax"]


def test_every_way_is_timed_next_to_the_plain_one():
    seen = []
    rows = bench("sd15", layers=1, size=8, rounds=2, device="cpu", progress=lambda *now: seen.append(now))
    assert [row.way for row in rows] == WAYS
    assert all(row.seconds > 0 and row.ratios[0] <= row.ratio <= row.ratios[1] for row in rows)
    assert (rows[0].ratio, rows[0].ratios) == (1, (1, 1))
    assert all(row.peak_mb is None or row.peak_mb > 100 for row in rows)  # torch alone holds more
    assert seen == [(done, 15) for done in range(1, 16)]


def test_ratios_are_taken_round_by_round():
    row = summary("both", [2.0, 30.0, 6.0], [1.0, 10.0, 4.0], 5.0)
    assert (row.seconds, row.ratio, row.ratios, row.peak_mb) == (6.0, 2.0, (1.5, 3.0), 5.0)


def subjects(tiny):
    yield "unet", tiny.unet()
    yield "sd3", tiny.sd3_pipeline(qk_norm="rms_norm", dual_attention_layers=(0,)).transformer
    yield "flux", tiny.flux_pipeline().transformer


@pytest.mark.parametrize(("number", "text"), [(0, 77), (1, 333), (2, 256)])
def test_what_the_ways_do(tiny, number, text):
    family, denoiser = list(subjects(tiny))[number]
    subject = prepare(denoiser, 8)
    assert subject.encoded.inputs["prompt_embeds"].shape[1] == text
    assert ("negative_prompt_embeds" in subject.encoded.inputs) == (family != "flux")
    before = [(name, each, type(each)) for name, each in denoiser.attn_processors.items()]
    ways = ways_of(subject)
    assert list(ways) == WAYS
    outputs = {}
    with torch.no_grad():
        for _ in range(2):  # each is entered once a round, and a session's goes on recording
            for way, make in ways.items():
                with make() as made:
                    outputs[way] = subject.call().sample
                if way in ("recorded", "both"):
                    recorded = made.maps
    assert torch.equal(outputs["recorded"], outputs["plain"])
    assert torch.equal(outputs["both"], outputs["weighted"])
    assert not torch.allclose(outputs["weighted"], outputs["plain"], atol=1e-6)
    assert torch.allclose(outputs["naive softmax"], outputs["plain"], atol=1e-4)
    assert all((slot.counts == 2).all() for slot in recorded.recording.slots)
    assert 0 < recorded.word("cat").mass < 1
    assert [(name, each, type(each)) for name, each in denoiser.attn_processors.items()] == before


def test_the_naive_way_keeps_the_columns_of_the_text(tiny, monkeypatch):
    kept = []
    from promptweight.benchmarks.attention import Naive

    attend = Naive.attend

    def watched(self, *args, **kwargs):
        output = attend(self, *args, **kwargs)
        kept.append(tuple(self.kept.shape))
        return output

    monkeypatch.setattr(Naive, "attend", watched)
    shapes = {}
    for family, denoiser in subjects(tiny):
        subject = prepare(denoiser, 8)
        with naive(subject), torch.no_grad():
            subject.call()
        shapes[family] = set(kept)
        kept.clear()
    assert shapes == {"unet": {(64, 77), (16, 77)}, "sd3": {(16 + 333, 333)}, "flux": {(16 + 256, 256)}}


@pytest.mark.parametrize(
    ("model", "layers", "billions"), [("sd15", 16, 0.860), ("sdxl", 70, 2.567), ("sd35-medium", 24, 2.244)]
)
def test_full_size(model, layers, billions):
    """Layers in which the image reads the text, and size, of the published models; without weights."""
    denoiser = build(model, None, "meta", "float32")
    place = "transformer" if model == "sd35-medium" else "unet"
    assert len(read_layout(SimpleNamespace(**{place: denoiser})).layers) == layers
    assert sum(each.numel() for each in denoiser.parameters()) / 1e9 == pytest.approx(billions, rel=0.01)
    assert ARCHITECTURES == ("sd15", "sdxl", "sd35-medium")


@pytest.mark.parametrize(
    ("model", "layers", "found"),
    [("sd15", 1, 2 + 1 + 3), ("sdxl", 1, 2 * (2 + 1 + 3)), ("sd35-medium", 2, 2)],
)
def test_fewer_layers(model, layers, found):
    denoiser = build(model, layers, "meta", "bfloat16")
    place = "transformer" if model == "sd35-medium" else "unet"
    assert len(read_layout(SimpleNamespace(**{place: denoiser})).layers) == found
    assert denoiser.dtype == torch.bfloat16


def test_settings_are_checked():
    for settings, message in [
        ({"rounds": 0}, "rounds is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"steps": -1}, "steps is -1"),
        ({"dtype": "float8"}, "dtype is 'float8'"),
        ({"device": "abacus"}, "device 'abacus' is not there"),
        ({"model": "mini", "layers": 1}, "mini runs whole"),
        ({"clock": "sundial"}, "clock is 'sundial'"),
    ]:
        with pytest.raises(SettingError, match=message):
            bench(**settings)
    with pytest.raises(ModelError, match="a Linear cannot be timed"):
        prepare(torch.nn.Linear(1, 1))


def test_the_time_of_the_processor_leaves_out_what_others_take():
    for clock, shortest, longest in [("wall", 0.2, math.inf), ("processor", 0.0, 0.1)]:
        seconds, _ = timed(lambda: time.sleep(0.1), 2, "cpu", clock)
        assert shortest <= seconds < longest


def test_the_command(monkeypatch, capsys):
    rows = [summary("plain", [2.0], [2.0], 100.0), summary("both", [2.5], [2.0], None)]
    asked = []

    def measure(model, **settings):
        settings.pop("progress")(1, 2)
        asked.append((model, settings))
        return rows

    monkeypatch.setattr("promptweight.benchmarks.attention.bench", measure)
    printed = []
    for arguments in (["--model", "sdxl", "--layers", "1", "--device", "cpu"], ["--json", "--repeats", "2"]):
        monkeypatch.setattr(sys, "argv", ["promptweight", "bench", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 0
        printed.append(capsys.readouterr().out)
    assert [(model, each["layers"], each["rounds"]) for model, each in asked] == [
        ("sdxl", 1, 5),
        ("sd15", None, 2),
    ]
    assert "1.250" in printed[0]
    assert "unknown" in printed[0]
    assert json.loads(printed[1])["ways"] == json.loads(json.dumps([asdict(row) for row in rows]))
