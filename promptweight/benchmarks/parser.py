"""Times the reading of prompts from 1 kB to 1 MB: nested, weighted, scheduled, unclosed.

Run ``python -m promptweight.benchmarks.parser``. Times are processor times; growth is the factor by which they
grow for ten times the text, so that 10 is linear. The last table is of 200 groups with their schedule, for
which other tools need seconds to minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

from promptweight.prompt import DIALECTS, parse, schedule

SIZES = (1_000, 10_000, 100_000, 1_000_000)
STEPS = 30


def nested(size: int) -> str:
    """Round brackets in round brackets, half of the text opening and half closing."""
    half = (size - 3) // 2
    return "(" * half + "cat" + ")" * half


def weighted(size: int) -> str:
    """One weighted group after the other."""
    group = "(a red cat:1.2), "
    return group * (size // len(group))


def scheduled(size: int) -> str:
    """Prompt editing, one after the other, with weights inside."""
    group = "[a (cat:1.2):a dog:0.5] "
    return group * (size // len(group))


def unclosed(size: int) -> str:
    """Group that are never closed."""
    return "(a [b " * (size // 6)


SHAPES: dict[str, Callable[[int], str]] = {
    "nested": nested,
    "weighted": weighted,
    "scheduled": scheduled,
    "unclosed": unclosed,
}


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The least processor time of several runs."""
    best = float("inf")
    for _ in range(repeats):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def read_and_schedule(text: str) -> None:
    """What happens to a prompt before it is encoded."""
    parse(text)
    schedule(text, STEPS)


def lines(sizes: Sequence[int] = SIZES) -> Iterator[str]:
    """The report, line by line, as it is measured."""
    yield f"{'parse':10} {'shape':10} " + "".join(f"{size // 1000:>8} kB" for size in sizes) + "   growth"
    for dialect in (dialect for dialect in DIALECTS if dialect != "plain"):
        for shape, write in SHAPES.items():
            times = [
                seconds(partial(parse, write(size), dialect), 1 if size > 10_000 else 3) for size in sizes
            ]
            growth = " ".join(f"{later / sooner:5.1f}" for sooner, later in pairwise(times))
            shown = "".join(f"{taken * 1e3:8.1f} ms" for taken in times)
            yield f"{dialect:10} {shape:10} {shown}  {growth}"
    yield ""
    yield f"parse and schedule of 200 groups, {STEPS} steps"
    for name, text in (
        ("200 nested", "(" * 200 + "cat" + ")" * 200),
        ("200 weighted", "(cat:1.2), " * 200),
        ("200 scheduled", "[cat:dog:0.5], " * 200),
    ):
        yield f"{name:21} {seconds(partial(read_and_schedule, text), 5) * 1e3:8.2f} ms"


if __name__ == "__main__":
    for line in lines():
        print(line, flush=True)
