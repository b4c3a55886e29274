"""Benchmark of prompt encoding: weighted prompts against the pipeline's own encoding of the same text.

Run with `python -m promptweight.benchmarks.encoding`. The text encoder has the size of Stable Diffusion 1.5
(CLIP ViT-L/14) and random weights: their values do not affect the time. Every round runs all cases in
sequence, so that other load on the machine affects all of them alike; ratios are computed per round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from time import process_time
from typing import TYPE_CHECKING

import torch
from transformers import CLIPTextConfig, CLIPTextModel

from promptweight.conditioning import encode
from promptweight.models import load
from promptweight.weighting import Weighting

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

TEXT = "a red cat and a small blue dog on the left of an old wooden table"
CASES = {
    "without weights": TEXT,
    "1 phrase": TEXT.replace("red cat", "(red cat:0.5)"),
    "2 phrases, 1 weight": TEXT.replace("red cat", "(red cat:0.5)").replace("blue dog", "(blue dog:0.5)"),
    "2 phrases": TEXT.replace("red cat", "(red cat:0.5)").replace("blue dog", "(blue dog:0.7)"),
    "4 phrases": "a (red cat:0.5) and a (small:0.6) (blue dog:0.7) on the left of an old (wooden table:0.8)",
}
"""Prompts of the same clean text, by name."""


def build_pipeline(layers: int = 12) -> StableDiffusionPipeline:
    """Return the built-in `mini` with a text encoder of the size of Stable Diffusion 1.5.

    Args:
        layers: number of layers of the text encoder, 12 in full size.
    """
    pipe = load("mini", device="cpu")
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=layers,
        num_attention_heads=12,
        max_position_embeddings=77,
        hidden_act="quick_gelu",
        eos_token_id=pipe.tokenizer.eos_token_id,
    )
    pipe.text_encoder = CLIPTextModel(config).eval()
    return pipe


def make_cases(pipe: StableDiffusionPipeline) -> dict[str, Callable[[], object]]:
    """Return the pipeline's own encoding with an empty negative prompt, and ours with each prompt."""
    cases: dict[str, Callable[[], object]] = {
        "pipeline": lambda: pipe.encode_prompt(TEXT, "cpu", 1, True, ""),
    }
    for name, prompt in CASES.items():
        cases[name] = partial(encode, pipe, prompt, "", weighting=Weighting("presence"))
    return cases


@torch.no_grad()
def time_cases(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the processor time of every case in each round, after one warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, run in cases.items():
            begin = process_time()
            run()
            if number > 0:
                times[name].append(process_time() - begin)
    return times


def report_lines(rounds: int = 9, layers: int = 12) -> Iterator[str]:
    """Yield the lines of the report: milliseconds, and the ratio to the pipeline's own encoding."""
    times = time_cases(make_cases(build_pipeline(layers)), rounds)
    yield f"{'prompt':22} {'ms':>8} {'ratio':>6}"
    for name, seconds in times.items():
        ratios = [own / plain for own, plain in zip(seconds, times["pipeline"], strict=True)]
        yield f"{name:22} {median(seconds) * 1e3:8.1f} {median(ratios):6.2f}"


if __name__ == "__main__":
    for line in report_lines():
        print(line, flush=True)
