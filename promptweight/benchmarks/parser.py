"""Benchmark of the prompt parser on 1 kB to 1 MB of text: nested, weighted, scheduled, unclosed.

    python -m promptweight.benchmarks.parser

`parse` is the time of the tree alone, `prompt` that of the tree and the weighted spans of the first step.
Times are processor times; growth is the factor for ten times the text, so that 10 is linear. The last table
has 200 groups with their timeline, for which other tools need seconds to minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

from promptweight.prompt import DIALECTS, Prompt, PromptTimeline, parse

SIZES = (1_000, 10_000, 100_000, 1_000_000)
STEPS = 30


def nested(size: int) -> str:
    """Return brackets in brackets, half of the text opening and half closing."""
    half = (size - 3) // 2
    return "(" * half + "cat" + ")" * half


def weighted(size: int) -> str:
    """Return one weighted group after the other."""
    group = "(a red cat:1.2), "
    return group * (size // len(group))


def scheduled(size: int) -> str:
    """Return one edit after the other, with weights inside."""
    group = "[a (cat:1.2):a dog:0.5] "
    return group * (size // len(group))


def unclosed(size: int) -> str:
    """Return groups that are never closed."""
    return "(a [b " * (size // 6)


SHAPES: dict[str, Callable[[int], str]] = {
    "nested": nested,
    "weighted": weighted,
    "scheduled": scheduled,
    "unclosed": unclosed,
}


def measure_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least processor time of several runs."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def make_prompt(text: str, dialect: str) -> Prompt:
    """Parse a text, and return the weighted spans of the first step."""
    return parse(text, dialect).at()


def make_timeline(text: str) -> PromptTimeline:
    """Parse a text, and return its variants in a run of `STEPS` steps."""
    return parse(text).timeline(STEPS)


def report_lines(sizes: Sequence[int] = SIZES) -> Iterator[str]:
    """Yield the lines of the report as they are measured."""
    head = "".join(f"{size // 1000:>8} kB" for size in sizes)
    for name, work in (("parse", parse), ("prompt", make_prompt)):
        yield f"{name:10} {'shape':10} {head}   growth"
        for dialect in (dialect for dialect in DIALECTS if dialect != "plain"):
            for shape, write in SHAPES.items():
                times = [
                    measure_seconds(partial(work, write(size), dialect), 1 if size > 10_000 else 3)
                    for size in sizes
                ]
                growth = " ".join(f"{later / sooner:5.1f}" for sooner, later in pairwise(times))
                columns = "".join(f"{seconds * 1e3:8.1f} ms" for seconds in times)
                yield f"{dialect:10} {shape:10} {columns}  {growth}"
        yield ""
    yield f"timeline of 200 groups, {STEPS} steps"
    for name, text in (
        ("200 nested", "(" * 200 + "cat" + ")" * 200),
        ("200 weighted", "(cat:1.2), " * 200),
        ("200 scheduled", "[cat:dog:0.5], " * 200),
    ):
        yield f"{name:21} {measure_seconds(partial(make_timeline, text), 5) * 1e3:8.2f} ms"


if __name__ == "__main__":
    for line in report_lines():
        print(line, flush=True)
