"""Benchmark beside other tools: every work has its tools, absent ones are named, prompts are the same."""

import json
import sys

import pytest
import torch

from promptweight.benchmarks import peers
from promptweight.benchmarks.encoding import build_pipeline
from promptweight.cli import main
from promptweight.errors import SettingError
from promptweight.prompt import parse

COMPEL = """
class Compel:
    def __init__(self, tokenizer, text_encoder):
        pass

    def __call__(self, prompts):
        calls.append(tuple(prompts))

calls = []
"""
COMPEL_PARSER = """
class PromptParser:
    def parse_conjunction(self, text):
        texts.append(text)

texts = []
"""
SD_EMBED = """
def get_weighted_text_embeddings_sd15(pipe, *, prompt, neg_prompt):
    calls.append((prompt, neg_prompt))

calls = []
"""


@pytest.fixture
def alone(monkeypatch):
    """No other tool is installed."""
    monkeypatch.setattr(peers, "find_spec", lambda name: None)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Packages of the names of compel and sd_embed that note their calls."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("compel", "sd_embed")]:
        monkeypatch.delitem(sys.modules, name)
    for path, content in (
        ("compel/__init__.py", COMPEL),
        ("compel/prompt_parser.py", COMPEL_PARSER),
        ("sd_embed/__init__.py", ""),
        ("sd_embed/embedding_funcs.py", SD_EMBED),
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("compel", "sd_embed")]:
        del sys.modules[name]


def run_small(**settings):
    return peers.benchmark_peers(
        "sd15", layers=1, size=8, rounds=1, device="cpu", encoder_layers=1, **settings
    )


@pytest.mark.usefixtures("alone")
def test_every_work_is_measured_without_other_tools():
    progress = []
    timings = run_small(progress=lambda *now: progress.append(now))
    works = list(dict.fromkeys(timing.work for timing in timings))
    assert works == [
        "encoding, 1 phrase",
        "encoding, 5 phrases",
        "encoding, 20 phrases",
        "parsing, 200 characters",
        "parsing, 1,000 characters",
        "recording, sd15",
    ]
    assert progress == [(done, 6) for done in range(1, 7)]
    for work in works:
        first, *others = [timing for timing in timings if timing.work == work]
        assert (first.ratio, first.ratio_range) == (1, (1, 1))
        assert all(timing.ratio == timing.seconds / first.seconds for timing in others)
    assert peers.find_versions() == {
        "promptweight": peers.find_versions()["promptweight"],
        "compel": None,
        "sd_embed": None,
        "attention-map-diffusers": None,
    }


@pytest.mark.usefixtures("installed")
def test_installed_tools_get_the_same_prompts():
    pipe = build_pipeline(layers=1)
    cases = peers.make_encoding_cases(pipe, 5)
    assert {"compel", "sd_embed"} < cases.keys()
    for name in ("compel", "sd_embed"):
        cases[name]()
    parsing = peers.make_parsing_cases(200)
    parsing["compel"]()
    compel, sd_embed = sys.modules["compel"], sys.modules["sd_embed.embedding_funcs"]
    assert compel.calls == [(peers.write_prompt(5, "compel"), "")]
    assert sd_embed.calls == [(peers.write_prompt(5, "a1111"), "")]
    (text,) = set(sys.modules["compel.prompt_parser"].texts)
    assert 200 <= len(text) < 500


@pytest.mark.parametrize("number", peers.PHRASES)
def test_prompts_of_both_dialects_have_the_same_weights(number):
    found = {
        dialect: [
            (span.text.strip(), span.weight)
            for span in parse(peers.write_prompt(number, dialect), dialect).at().spans
            if span.weight != 1
        ]
        for dialect in ("a1111", "compel")
    }
    assert found["a1111"] == found["compel"]
    assert len(found["a1111"]) == number


def test_both_tools_of_compels_formula_have_the_same_embeddings():
    pytest.importorskip("compel", reason="compel is not installed")
    pipe = build_pipeline(layers=1)
    cases = peers.make_encoding_cases(pipe, 5)
    with torch.no_grad():
        theirs, ours = cases["compel"](), cases["promptweight, compel's formula"]()
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_summary_has_ratios_by_round():
    _, second = peers.summarize_tools("w", {"a": [1.0, 10.0, 4.0], "b": [2.0, 30.0, 6.0]})
    assert (second.tool, second.seconds, second.ratio, second.ratio_range) == ("b", 6.0, 2.0, (1.5, 3.0))


def test_numbers_below_1_are_refused():
    with pytest.raises(SettingError, match="rounds must be 1 or more; got 0"):
        peers.benchmark_peers(rounds=0)


def test_command_prints_tools_and_versions(monkeypatch, capsys):
    timings = peers.summarize_tools("parsing", {"promptweight": [1.0], "compel": [200.0]})
    calls = []

    def measure(model, *, progress, **settings):
        progress(1, 1)
        calls.append((model, settings["size"]))
        return timings

    monkeypatch.setattr(peers, "benchmark_peers", measure)
    monkeypatch.setattr(peers, "find_versions", lambda: {"promptweight": "0.1.0", "compel": None})
    printed = []
    for arguments in (["--size", "32"], ["--json"], ["--timer", "processor"]):
        monkeypatch.setattr(sys, "argv", ["promptweight", "bench", "--peers", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        printed.append((left.value.code, out, err))
    assert calls == [("sd15", 32), ("sd15", None)]
    assert "200" in printed[0][1]
    assert "promptweight 0.1.0, compel absent" in printed[0][1]
    assert json.loads(printed[1][1])["works"][1]["ratio"] == 200
    assert printed[2][0] == 2
    assert "timer must be left out with --peers" in printed[2][2]
