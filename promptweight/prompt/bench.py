"""Times the reader on nested, weighted and scheduled prompts from 1 kB to 1 MB, and on the sizes people write.

Run ``python -m promptweight.prompt.bench``. Growth is the factor by which time grows for ten times the text: 10 is
linear. The last table holds 200 groups with their schedule, on which other tools need seconds to minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from promptweight.prompt.dialects import DIALECTS, parse
from promptweight.prompt.schedule import schedule

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
    """Groups that are never closed."""
    return "(a [b " * (size // 6)


SHAPES: dict[str, Callable[[int], str]] = {
    "nested": nested,
    "weighted": weighted,
    "scheduled": scheduled,
    "unclosed": unclosed,
}


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The shortest of several runs."""
    best = float("inf")
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def lines(sizes: tuple[int, ...] = SIZES) -> Iterator[str]:
    """The report, line by line, as it is measured."""
    yield f"{'parse':10} {'shape':10} " + "".join(f"{size // 1000:>8} kB" for size in sizes) + "   growth"
    for dialect in DIALECTS:
        for shape, write in SHAPES.items():
            times = [
                seconds(lambda t=write(size), d=dialect: parse(t, d), 1 if size > 10_000 else 3)
                for size in sizes
            ]
            growth = " ".join(
                f"{later / sooner:5.1f}" for sooner, later in zip(times, times[1:], strict=False)
            )
            yield (
                f"{dialect:10} {shape:10} "
                + "".join(f"{taken * 1e3:8.1f} ms" for taken in times)
                + f"  {growth}"
            )
    yield ""
    yield f"parse and schedule of 200 groups, {STEPS} steps"
    for name, text in (
        ("200 nested", "(" * 200 + "cat" + ")" * 200),
        ("200 weighted", "(cat:1.2), " * 200),
        ("200 scheduled", "[cat:dog:0.5], " * 200),
    ):
        taken = seconds(lambda t=text: (parse(t), schedule(t, STEPS)))
        yield f"{name:21} {taken * 1e3:8.2f} ms"


if __name__ == "__main__":
    for line in lines():
        print(line, flush=True)
