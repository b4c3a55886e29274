"""Random search over the properties of the suite, which itself tries the same examples in every run.

    python -m tests.fuzz --minutes 30
    python -m tests.fuzz --minutes 5 tests/prompt

Each round runs every property (a test with `hypothesis.given`) with another seed. The command exits with 1 on
the first failing property, after its smallest failing example; add that example to the suite as a named test.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time


def build_command(paths: list[str], seed: int) -> list[str]:
    """Return the pytest command of one round."""
    options = ["-q", "-x", "-m", "hypothesis", "-p", "no:cacheprovider", "-p", "no:randomly"]
    profile = ["--hypothesis-profile=search", f"--hypothesis-seed={seed}"]
    return [sys.executable, "-m", "pytest", *options, *profile, *paths]


def main() -> int:
    """Run rounds until the time is over; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", default=["tests"], help="test files or folders (default: tests)")
    parser.add_argument("--minutes", type=float, default=30.0, help="the time of the search (default: 30)")
    parser.add_argument("--seed", type=int, help="the seed of the first round (default: random)")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    end = time.monotonic() + 60 * options.minutes
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        remaining = max(1.0, end - time.monotonic())
        try:
            status = subprocess.run(build_command(options.paths, seed + rounds), timeout=remaining).returncode
        except subprocess.TimeoutExpired:
            break
        if status:
            print(f"round {rounds + 1}, seed {seed + rounds}: a property fails", flush=True)
            return 1
        rounds += 1
        print(f"round {rounds}, seed {seed + rounds - 1}: no failure", flush=True)
    print(f"{rounds} full rounds in {options.minutes:g} minutes, no failure", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
