"""What is released: a source archive and a wheel, complete, that do their job where they are installed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

import promptweight

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"promptweight": ROOT / "promptweight", "promptweight_ui": ROOT / "ui"}
"""The installed packages, and the folders of the repository that they are made from."""


class Built(NamedTuple):
    """The two files of a release, and what they are made from."""

    sdist: Path
    wheel: Path
    sources: dict[str, set[str]]
    """The files of each package's folder, as they were copied."""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints; it sees neither the checkout nor a network."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | {"HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sources(folder: Path) -> set[str]:
    """Every file of a package's folder, from there."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A source archive made of a copy of the checkout, and a wheel made of that archive."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    files = {package: sources(folder) for package, folder in FOLDERS.items()}
    for package, folder in FOLDERS.items():
        for name in files[package]:
            target = copy / folder.name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=copy)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel, files)


@pytest.mark.parametrize("package", FOLDERS)
def test_the_wheel_holds_every_file_of_the_packages(built, package):
    with zipfile.ZipFile(built.wheel) as wheel:
        inside = {
            name.removeprefix(f"{package}/") for name in wheel.namelist() if name.startswith(f"{package}/")
        }
    assert inside == built.sources[package]


def test_the_wheel_holds_nothing_else(built):
    with zipfile.ZipFile(built.wheel) as wheel:
        tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {*FOLDERS, f"promptweight-{promptweight.__version__}.dist-info"}
    assert "py.typed" in built.sources["promptweight"]


def test_the_license_is_in_both(built):
    with zipfile.ZipFile(built.wheel) as wheel, tarfile.open(built.sdist) as sdist:
        for names in (wheel.namelist(), sdist.getnames()):
            assert any(name.endswith("/LICENSE") for name in names)


@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_it_does_its_main_job_in_a_fresh_environment(built, kind, tmp_path):
    """The environment has the libraries that this one has, but of promptweight only what is installed."""
    place = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=tmp_path)
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    (site,) = json.loads(
        run(
            python,
            "-c",
            "import json, sysconfig; print(json.dumps([sysconfig.get_path('purelib')]))",
            cwd=tmp_path,
        )
    )
    # A .pth file adds the folders of libraries themselves, not what an editable install hangs on them.
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (Path(site) / "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(
        *install, "--no-deps", "--no-build-isolation", "--force-reinstall", getattr(built, kind), cwd=tmp_path
    )

    where = run(python, "-c", "import promptweight; print(promptweight.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(place)
    output = run(
        *(programs / "promptweight", "generate", "um (gato:1.4) vermelho", "-o", "out"),
        *("--overlay", "gato", "--steps", "2", "--seed", "1"),
        cwd=tmp_path,
    )
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert len(pictures) == 2, output
    told = run(programs / "promptweight", "info", pictures[0], cwd=tmp_path)
    assert "um (gato:1.4) vermelho" in told


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["version"] == promptweight.__version__
    assert citation["license"] == "Apache-2.0"


def test_make_runs_what_ci_runs():
    """`make check` is CI's own script; what the script checks has a quick target of the same command."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^check:.*\n\t\.ci/run\n", makefile, re.MULTILINE)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line.strip() for line in script if line.startswith(("ruff ", "mypy "))]
    assert commands
    for command in commands:
        assert f"\t{command}\n" in makefile, f"Makefile does not run: {command}"


def test_every_path_that_contributing_names_is_there():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:promptweight|tests|ui|examples)/[\w./-]*)`", page))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
