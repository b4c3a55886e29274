"""Tests of the JavaScript modules, run by Node."""

import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("static")
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_javascript_tests_pass():
    files = sorted(map(str, TESTS.glob("*.test.js")))
    assert files
    run = subprocess.run([NODE, "--test", *files], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
