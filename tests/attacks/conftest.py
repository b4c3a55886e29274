"""Hostile files: safetensors written by hand, pickles with a canary, and limits of time and memory.

Every test of the folder is slow: `pytest -m slow tests/attacks`.
"""

import json
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

UNET = "unet/diffusion_pytorch_model.safetensors"
SECONDS = 120
"""Time in which every input is answered; work without a bound takes far longer."""
MEGABYTES = 3_000
"""Memory of a child process; torch and diffusers themselves take about 500."""

_CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit} * 2**20, {limit} * 2**20))
from promptweight.cli import main
sys.argv = ["promptweight", *sys.argv[1:]]
main()
"""


def safetensors_bytes(header: object, data: bytes = b"") -> bytes:
    """Return a safetensors file with any header, a JSON value or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor_entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    """Return the entry of a tensor in a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that hostile code would create; its absence is checked after the test."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


@pytest.fixture
def pickle_bytes(canary: Path) -> bytes:
    """A pickle that creates the canary when it is opened."""
    return f"cposix\nsystem\n(S'touch {canary}'\ntR.".encode()


@pytest.fixture
def copy_model(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of a tiny model that a test may damage."""
    return shutil.copytree(model_folder, tmp_path / "my-model")


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """End a test that waits for ever, with an error that no code of the package expects."""

    class StuckError(BaseException):
        pass

    def stop(*_: object) -> None:
        raise StuckError(f"no answer within {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def run_limited(tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Function that runs the command line in a child process of limited memory: exit code, stdout, stderr."""

    def run(*arguments: object, limit: int = MEGABYTES) -> tuple[int, str, str]:
        command = [sys.executable, "-c", _CHILD.format(limit=limit), *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=tmp_path)
        return ended.returncode, ended.stdout, ended.stderr

    return run


def check_one_sentence(answer: tuple[int, str, str], code: int, text: str) -> None:
    """Check that a command ended with this code and one line that holds a text, without a traceback."""
    status, _, err = answer
    assert status == code, err
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert text in last
