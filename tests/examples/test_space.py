"""The folder for a Gradio Space: complete settings, and an app that visitors can open."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import gradio
import httpx
import pytest
import yaml

SPACE = Path(__file__).resolve().parents[2] / "examples" / "space"
PATIENCE = 240  # seconds


def test_settings_name_the_app_and_a_gradio_that_promptweight_accepts():
    page = (SPACE / "README.md").read_text(encoding="utf-8")
    settings = yaml.safe_load(page.split("---")[1])
    assert settings["sdk"] == "gradio"
    assert (SPACE / settings["app_file"]).is_file()
    assert settings["sdk_version"].split(".")[0] == gradio.__version__.split(".")[0]
    assert len(settings["short_description"]) <= 60
    requirements = (SPACE / "requirements.txt").read_text(encoding="utf-8").split()
    assert "promptweight[ui]" in requirements


@pytest.mark.launch
def test_app_of_the_space_opens_and_saves_nothing(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, SPACE / "app.py"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                page = httpx.get(f"http://127.0.0.1:{port}/", timeout=30)
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert page.status_code == 200
        assert re.search("promptweight", page.text)
        assert list(tmp_path.iterdir()) == []
    finally:
        process.terminate()
        process.wait(PATIENCE)
