"""`promptweight ui`: arguments that reach the app, and invalid ones."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptweight.cli import app as command_line
from promptweight.errors import ModelError, SettingError
from promptweight_ui import app as module


@pytest.fixture
def launched(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    calls = []
    monkeypatch.setattr(module, "launch", lambda models, **more: calls.append((models, more)))
    return calls


def run(*arguments):
    result = CliRunner().invoke(command_line, ["ui", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code


def test_default_is_the_built_in_model_on_this_machine(launched):
    assert run() == 0
    ((models, more),) = launched
    assert models == ["mini"]
    assert more == {
        "host": "127.0.0.1", "port": None, "share": False, "auth": [], "language": None,
        "output_dir": Path("out"), "output_limit": None,
        "lora_dir": None, "embeddings_dir": None, "root_path": None, "api": False, "inbrowser": True,
    }  # fmt: skip


def test_every_option_reaches_the_app(launched):
    arguments = (
        "-m mini -m other --host 0.0.0.0 --port 8000 --share --auth ana:a:b --lang pt-br --output-dir a"
    )
    arguments += " --output-limit 2GB --lora-dir b --embeddings-dir c --root-path /images --api"
    assert run(*arguments.split()) == 0
    ((models, more),) = launched
    assert models == ["mini", "other"]
    assert more == {
        "host": "0.0.0.0", "port": 8000, "share": True, "auth": [("ana", "a:b")], "language": "pt-br",
        "output_dir": Path("a"), "output_limit": 2_000_000_000, "lora_dir": Path("b"),
        "embeddings_dir": Path("c"), "root_path": "/images",
        "api": True, "inbrowser": False,
    }  # fmt: skip


def test_browser_is_not_opened_if_so_wanted(launched):
    assert run("--no-browser") == 0
    assert launched[0][1]["inbrowser"] is False


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a screen")
def test_browser_is_not_opened_without_a_screen(launched, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert run() == 0
    assert launched[0][1]["inbrowser"] is False


def test_images_are_not_saved_if_so_wanted(launched):
    assert run("--no-save", "--output-dir", "a") == 0
    assert launched[0][1]["output_dir"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--auth", "ana"],
        ["--auth", ":x"],
        ["--lang", "tlh"],
        ["--root-path", "images"],
        ["--root-path", ""],
        ["--root-path", "/a b"],
        ["--root-path", "ftp://a/b"],
        ["--output-limit", "2"],
        ["--output-limit", "0GB"],
        ["--output-limit", "-1GB"],
        ["--output-limit", "1e9GB"],
        ["--output-limit", "nanMB"],
        ["--output-limit", "2GB", "--no-save"],
    ],
)
def test_invalid_option_raises(launched, arguments):
    with pytest.raises(SettingError):
        run(*arguments)
    assert launched == []


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_invalid_port_is_refused(launched, port):
    assert run("--port", port) == 2
    assert launched == []


@pytest.mark.parametrize(
    ("option", "error", "text"),
    [
        ("--model", ModelError, "model must be a built-in name"),
        ("--lora-dir", SettingError, "lora_dir must be a folder"),
        ("--embeddings-dir", SettingError, "embeddings_dir must be a folder"),
    ],
)
def test_name_that_cannot_be_loaded_is_refused_before_the_app_is_served(monkeypatch, option, error, text):
    monkeypatch.setattr(module, "serve", lambda *_, **__: pytest.fail("served"))
    with pytest.raises(error, match=f"{text}.* got 'none'"):
        run("--no-save", option, "none")


def test_output_folder_that_is_a_file_is_refused_before_the_app_is_served(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "serve", lambda *_, **__: pytest.fail("served"))
    (tmp_path / "out").write_text("a text")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        run("--output-dir", str(tmp_path / "out"))
