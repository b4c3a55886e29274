"""Benchmark of installations: size, number of packages and import times in fresh environments.

    python -m promptweight.benchmarks.installation . ".[ui]"
    python -m promptweight.benchmarks.installation "git+file://$PWD@REVISION" --constraints constraints.txt

Every requirement that pip understands is installed into an environment of its own, which is removed after
its measurement. Imports are measured in processor time, so that other load on the machine changes it little.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

IMPORTS = ("import promptweight", "from promptweight.prompt import parse", "import promptweight.cli")
"""Imports that are measured: the package, the prompt language, and the command line."""


@dataclass(frozen=True)
class Installation:
    """Measurements of one installation.

    Attributes:
        requirement: what pip installed.
        packages: number of packages, without pip and setuptools.
        megabytes: size of all files of these packages, in 10⁶ bytes.
        import_seconds: processor seconds of each of `IMPORTS`; None where it fails.
    """

    requirement: str
    packages: int
    megabytes: float
    import_seconds: dict[str, float | None]


def measure_installation(
    requirement: str, *, constraints: Path | None = None, rounds: int = 5
) -> Installation:
    """Install a requirement into a fresh environment, and measure it.

    Args:
        requirement: what pip installs: a folder, a wheel, a package, or a revision of a repository.
        constraints: the file of versions for pip; None for the newest ones.
        rounds: number of processes for each import, of which the least time counts.

    Raises:
        subprocess.CalledProcessError: pip or Python failed.
    """
    with TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        python = Path(folder, "bin", "python")
        limits = [] if constraints is None else ["-c", str(constraints)]
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "install"]
        subprocess.run([*pip, "--no-compile", *limits, requirement], check=True)
        installed = next(Path(folder, "lib").glob("python*/site-packages"))
        times = {statement: time_import(python, statement, rounds) for statement in IMPORTS}
        files = [file for file in installed.rglob("*") if file.is_file() and file.suffix != ".pyc"]
        return Installation(
            requirement,
            len(list(installed.glob("*.dist-info"))),
            sum(file.stat().st_size for file in files) / 1e6,
            times,
        )


def time_import(python: Path, statement: str, rounds: int = 5) -> float | None:
    """Return the processor seconds of an import, the first one of a process; None where it fails."""
    program = f"from time import process_time as now; begin = now(); {statement}; print(now() - begin)"
    times = []
    for _ in range(rounds + 1):
        command = [str(python), "-c", program]
        run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=python.parent)
        if run.returncode:
            return None
        times.append(float(run.stdout))
    return min(times[1:])  # the first process compiles


def report_lines(installations: Sequence[Installation]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"| installation | packages | MB | {' | '.join(f'`{each}`' for each in IMPORTS)} |"
    yield f"|---|{'---:|' * (2 + len(IMPORTS))}"
    for each in installations:
        seconds = [each.import_seconds[statement] for statement in IMPORTS]
        cells = ["-" if time is None else f"{time:.2f} s" for time in seconds]
        yield f"| {each.requirement} | {each.packages} | {each.megabytes:.0f} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the requirements that the command line names, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m promptweight.benchmarks.installation")
    parser.add_argument("requirements", nargs="*", default=["."], help="what pip installs (default: .)")
    parser.add_argument("--constraints", type=Path, help="file of versions for pip")
    parser.add_argument("--rounds", type=int, default=5, help="processes for each import (default: 5)")
    options = parser.parse_args(arguments)
    measured = []
    for requirement in options.requirements:
        print(f"installing {requirement}", file=sys.stderr, flush=True)
        measured.append(
            measure_installation(requirement, constraints=options.constraints, rounds=options.rounds)
        )
    for line in report_lines(measured):
        print(line)


if __name__ == "__main__":
    main()
