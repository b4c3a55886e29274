"""Reads random texts in every dialect and checks what must hold for any; not collected by pytest.

    python tests/fuzz/fuzz_prompt.py --cases 1000000 --jobs 2

Prints the first text that breaks something, with its seed, and exits with 1; otherwise the number of cases.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from multiprocessing import get_context

from promptweight.prompt import DIALECTS, adjust_weight, convert, detect, expand, parse, schedule
from promptweight.prompt.conversion import meaning

PIECES = [
    *"()[]{}:|\\<>\"'#,.+-=_$ \n\t\x00\u202e\ud83d\udc31",
    *("a", "gato", "e\u0301", "👩‍🚀", "١٢", "½", "1.2", ".5", "-1", "1e999", "nan", "inf", "1_0", "16:9"),
    *(
        "BREAK",
        " BREAK ",
        "AND",
        " AND ",
        ":1.2)",
        ": -.5 )",
        "(x:1.5)",
        "[a:b:3]",
        "[c:0.5]",
        "[d|e]",
        "[f::2]",
    ),
    *(
        "{steps=0.2-0.8}",
        "{to=2,region=left}",
        "(g:1.2{mode=logit})",
        "<lora:n:0.5>",
        "<lora:",
        "embedding:foo",
    ),
    *(
        "# c\n",
        "((",
        "))",
        "\\(",
        "\\)",
        "\\\\",
        "i++",
        "(j)1.3",
        '"k l"+',
        ".and(",
        ".blend(1,2)",
        '("m","n")',
    ),
    *(".swap(o)", ".attend(1.1)", "useLora(p,1)", "__q__", "2$$", "3::", "{x|y}"),
]


def random_text(source: random.Random) -> str:
    """Syntax torn apart, any characters, or a long repetition."""
    kind = source.random()
    if kind < 0.8:
        return "".join(source.choice(PIECES) for _ in range(source.randint(0, 16)))
    if kind < 0.97:
        return "".join(chr(source.randrange(0x110000)) for _ in range(source.randint(0, 24)))
    return "".join(source.choice(PIECES) for _ in range(3)) * source.randint(1, 200)


def check(text: str, source: random.Random) -> None:
    """Raise AssertionError, or anything else, where a text breaks what must hold."""
    for dialect in DIALECTS:
        prompt = parse(text, dialect).at()
        assert "".join(span.text for span in prompt.spans) == prompt.text, dialect
        assert all(math.isfinite(span.weight) for span in prompt.spans), dialect
        assert all(0 <= span.start <= span.end <= len(text) for span in prompt.spans), dialect
        assert all(0 <= found.start <= found.end <= len(text) for found in prompt.diagnostics), dialect
        for clean_start, source_start, length in prompt.runs:
            copied = prompt.text[clean_start : clean_start + length]
            assert text[source_start : source_start + length] == copied, dialect
        assert prompt.scanned <= 14 * len(text) + 14, dialect
    dialect, target = source.choice(DIALECTS), source.choice(DIALECTS)
    prompt = parse(text, dialect).at()
    assert meaning(parse(str(prompt), dialect).at()) == meaning(prompt), f"str of {dialect}"
    conversion = convert(text, dialect, target)
    if not conversion.losses and target != dialect:
        loose = "compel" in (dialect, target)
        assert meaning(parse(conversion.text, target).at(), loose) == meaning(prompt, loose), (
            f"{dialect} to {target}"
        )
    steps = source.randint(1, 30)
    assert schedule(text, steps, dialect)[-1][0] == steps
    place = source.randint(0, len(text))
    written, start, end = adjust_weight(text, place, min(len(text), place + source.randint(0, 5)), 0.1)
    assert 0 <= start <= end <= len(written)
    expand(text, 1)
    detect(text)


def run(seed: int, cases: int) -> tuple[int, str | None]:
    """Check so many texts; the number checked and what broke, if anything did."""
    for case in range(cases):
        source = random.Random(f"{seed}/{case}")
        text = random_text(source)
        try:
            check(text, source)
        except Exception as error:
            return case, f"seed {seed} case {case}: {text!a}\n{type(error).__name__}: {error}"
    return cases, None


def main() -> int:
    """Share the cases out to processes, in portions, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    portion = 1_000
    portions = [
        (options.seed + number, min(portion, options.cases - number * portion))
        for number in range(math.ceil(options.cases / portion))
    ]
    begun = time.monotonic()
    done = 0
    with get_context("spawn").Pool(options.jobs) as pool:
        for checked, broken in pool.imap_unordered(portion_of, portions):
            done += checked
            if broken is not None:
                print(broken)
                return 1
            if sys.stderr.isatty():
                print(f"\r{done} cases, {time.monotonic() - begun:.0f} s", end="", file=sys.stderr)
    print(f"{done} cases, nothing broken, {time.monotonic() - begun:.0f} s")
    return 0


def portion_of(arguments: tuple[int, int]) -> tuple[int, str | None]:
    """One portion, as the pool calls it."""
    return run(*arguments)


if __name__ == "__main__":
    sys.exit(main())
