"""Benchmark beside other tools: encoding, parsing and recording, with the versions of the tools.

    promptweight bench --peers
    for timing in benchmark_peers(): print(timing.work, timing.tool, timing.ratio)

Tools that are not installed are named as absent: compel, sd_embed and attention-map-diffusers. AUTOMATIC1111
and ComfyUI have no package. Every round runs all tools in sequence, so that other load on the machine affects
all of them alike; ratios are computed per round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

import torch

from promptweight.benchmarks.attention import make_cases, time_calls
from promptweight.benchmarks.encoding import build_pipeline
from promptweight.benchmarks.models import BenchmarkModel, build_denoiser, prepare_model
from promptweight.compat import Compel
from promptweight.conditioning import encode
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.models import choose_device
from promptweight.prompt import parse

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

OWN = "promptweight"
RECORDER = "attention-map-diffusers"
PACKAGES = {"compel": "compel", "sd_embed": "sd_embed", RECORDER: "attention_map_diffusers"}
"""Python modules of the tools by their names, which are also those of their packages."""
PHRASES = (1, 5, 20)
"""Numbers of weighted phrases in the prompts that are encoded."""
PARSED_CHARACTERS = (200, 1_000)
"""Sizes of the prompts that are parsed."""
_WORDS = [
    *("cat", "dog", "fish", "tree", "star", "moon", "sun", "boat", "house", "flower"),
    *("car", "ball", "bird", "cup", "hat", "key", "lamp", "leaf", "ring", "shoe"),
]
_REPEATS = 3
"""Parses in one timed run."""


@dataclass(frozen=True)
class PeerTiming:
    """Time of one tool for one work.

    Attributes:
        work: the work, such as `encoding, 5 phrases`.
        tool: the tool, and the formula of the weights where it has several.
        seconds: median over the rounds.
        ratio: median over the rounds of the ratio to the first tool of this work in the same round.
        ratio_range: lowest and highest of these ratios.
    """

    work: str
    tool: str
    seconds: float
    ratio: float
    ratio_range: tuple[float, float]


Case = Callable[[], AbstractContextManager[Callable[[], Any]]]
"""Factory of the context in which a model is called, whose value is the call."""


def find_versions() -> dict[str, str | None]:
    """Return the versions of the tools by name; None for one that is not installed."""
    return {name: _find_version(name) if _is_installed(name) else None for name in (OWN, *PACKAGES)}


def _find_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _is_installed(tool: str) -> bool:
    return tool == OWN or find_spec(PACKAGES[tool]) is not None


def list_cases(subject: BenchmarkModel) -> dict[str, Case]:
    """Return the cases of `promptweight.benchmarks.attention`, and `RECORDER` where it is installed."""
    cases: dict[str, Case] = {}
    for name, make_context in make_cases(subject).items():
        cases[name] = _bind(make_context, subject.call)
    if _is_installed(RECORDER):
        cases[RECORDER] = lambda: _record_with_peer(subject)
    return cases


def _bind(make_context: Callable[[], AbstractContextManager[Any]], call: Callable[[], Any]) -> Case:
    @contextmanager
    def enter() -> Iterator[Callable[[], Any]]:
        with make_context():
            yield call

    return enter


@contextmanager
def _record_with_peer(subject: BenchmarkModel) -> Iterator[Callable[[], Any]]:
    """Record the attention of the image to the text with attention-map-diffusers."""
    from attention_map_diffusers import AttentionCapture

    with AttentionCapture(subject.pipe, relations="image->text", timesteps="all") as capture:

        def call() -> Any:
            capture.clear()
            subject.call()
            return capture.compute()

        yield call


def benchmark_peers(
    model: str = "sd15",
    *,
    layers: int | None = None,
    size: int | None = None,
    steps: int = 1,
    rounds: int = 5,
    device: str = "auto",
    dtype: str = "auto",
    encoder_layers: int = 12,
    progress: Callable[[int, int], object] | None = None,
) -> list[PeerTiming]:
    """Measure encoding, parsing and recording beside the other tools that are installed.

    Prompts are encoded by a text encoder of the size of Stable Diffusion 1.5 on the CPU, with an empty
    negative prompt, in processor time; of `presence`, this is the part of the weights below 1. `model` and
    the arguments after it are those of `benchmark_attention`, for recording, in wall time.

    Args:
        model: as in `benchmark_attention`.
        layers: as there.
        size: as there.
        steps: as there.
        rounds: measured runs of every tool, after one warm-up round.
        device: as there.
        dtype: as there.
        encoder_layers: layers of the text encoder, 12 in full size.
        progress: called after every work with the number of works that are done and of all.

    Raises:
        SettingError: an argument is out of range.
        ModelError: the model type is not supported.
    """
    for name, value in (("layers", layers), ("size", size), ("steps", steps), ("rounds", rounds)):
        if value is not None and value < 1:
            raise SettingError(message("benchmark-minimum", name=name, value=value))
    device = choose_device(device)
    pipe = build_pipeline(encoder_layers)
    works: dict[str, Callable[[], list[PeerTiming]]] = {}
    for number in PHRASES:
        work = f"encoding, {number} phrase{'s' if number > 1 else ''}"
        works[work] = partial(_measure, work, make_encoding_cases(pipe, number), rounds)
    for characters in PARSED_CHARACTERS:
        work = f"parsing, {characters:,} characters"
        works[work] = partial(_measure, work, make_parsing_cases(characters), rounds)

    def record() -> list[PeerTiming]:
        subject = prepare_model(build_denoiser(model, layers, device, dtype), size)
        cases = list_cases(subject)
        times: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(rounds + 1):
            for name, enter in cases.items():
                with enter() as call, torch.no_grad():
                    seconds, _ = time_calls(call, steps, device)
                if number:
                    times[name].append(seconds)
        tools = {name: name if name == RECORDER else f"{OWN}, {name}" for name in cases}
        tools |= {"plain": "no tool", "naive softmax": "naive softmax"}
        return summarize_tools(f"recording, {model}", {tools[name]: each for name, each in times.items()})

    works[f"recording, {model}"] = record
    timings: list[PeerTiming] = []
    for done, run in enumerate(works.values(), 1):
        timings += run()
        if progress is not None:
            progress(done, len(works))
    return timings


def write_prompt(number: int, dialect: str) -> str:
    """Return a prompt of 20 words, `number` of them weighted, below and above 1 in turn.

    >>> write_prompt(1, "compel")[:24], write_prompt(2, "a1111")[:30]
    ('(cat)0.8 dog fish tree s', '(cat:0.8) (dog:1.2) fish tree ')
    """
    words = []
    for index, word in enumerate(_WORDS):
        weight = "1.2" if index % 2 else "0.8"
        weighted = f"({word}){weight}" if dialect == "compel" else f"({word}:{weight})"
        words.append(weighted if index < number else word)
    return " ".join(words)


def make_encoding_cases(pipe: StableDiffusionPipeline, number: int) -> dict[str, Callable[[], object]]:
    """Return the tools' encodings of a prompt with `number` weighted words, the pipeline's own first."""
    ours, theirs = write_prompt(number, "a1111"), write_prompt(number, "compel")
    own = Compel(tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder)
    cases: dict[str, Callable[[], object]] = {
        "diffusers, without weights": lambda: pipe.encode_prompt(" ".join(_WORDS), "cpu", 1, True, ""),
        f"{OWN}, presence": lambda: encode(pipe, ours, ""),
        f"{OWN}, compel's formula": lambda: own([theirs, ""]),
    }
    if _is_installed("compel"):
        import compel

        peer = compel.Compel(tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder)
        cases["compel"] = lambda: peer([theirs, ""])
    if _is_installed("sd_embed"):
        from sd_embed.embedding_funcs import get_weighted_text_embeddings_sd15

        cases[f"{OWN}, a1111"] = lambda: encode(pipe, ours, "", weighting="a1111")
        cases["sd_embed"] = lambda: get_weighted_text_embeddings_sd15(pipe, prompt=ours, neg_prompt="")
    return cases


def make_parsing_cases(characters: int) -> dict[str, Callable[[], object]]:
    """Return the tools' parsers with a prompt of weighted words of at least this size."""
    piece = write_prompt(10, "compel") + " "
    text = piece * -(-characters // len(piece))

    def repeat(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            for _ in range(_REPEATS):
                work()

        return run

    cases = {f"{OWN}, dialect compel": repeat(lambda: parse(text, "compel").at())}
    if _is_installed("compel"):
        from compel.prompt_parser import PromptParser

        parser = PromptParser()
        cases["compel"] = repeat(lambda: parser.parse_conjunction(text))
    return cases


@torch.no_grad()
def _measure(work: str, cases: dict[str, Callable[[], object]], rounds: int) -> list[PeerTiming]:
    times: dict[str, list[float]] = {tool: [] for tool in cases}
    for number in range(rounds + 1):
        for tool, run in cases.items():
            begin = process_time()
            run()
            if number:  # the first round warms up
                times[tool].append(process_time() - begin)
    if work.startswith("parsing"):
        times = {tool: [each / _REPEATS for each in seconds] for tool, seconds in times.items()}
    return summarize_tools(work, times)


def summarize_tools(work: str, times: dict[str, list[float]]) -> list[PeerTiming]:
    """Return the timings of a work from the seconds of each tool by round; ratios are to the first tool."""
    first = next(iter(times.values()))
    timings = []
    for tool, seconds in times.items():
        ratios = [own / base for own, base in zip(seconds, first, strict=True)]
        timings.append(PeerTiming(work, tool, median(seconds), median(ratios), (min(ratios), max(ratios))))
    return timings
