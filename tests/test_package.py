"""The released source archive and wheel: their files, and an installation of each."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

import promptweight

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"promptweight": ROOT / "promptweight", "promptweight_ui": ROOT / "ui" / "promptweight_ui"}
"""The installed packages, and their folders in the repository."""


class Built(NamedTuple):
    """The two files of a release, and their sources."""

    sdist: Path
    wheel: Path
    sources: dict[str, set[str]]
    """The files of each package's folder, as copied."""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Return the output of a command that has no access to the checkout or to a package index."""
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
    """Return the files of a package's folder, relative to it."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A source archive of a copy of the checkout, and a wheel of that archive."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    files = {package: sources(folder) for package, folder in PACKAGES.items()}
    for package, folder in PACKAGES.items():
        for name in files[package]:
            target = copy / folder.relative_to(ROOT) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=copy)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel, files)


@pytest.mark.package
@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_holds_every_file_of_each_package(built, package):
    with zipfile.ZipFile(built.wheel) as wheel:
        inside = {
            name.removeprefix(f"{package}/") for name in wheel.namelist() if name.startswith(f"{package}/")
        }
    assert inside == built.sources[package]


@pytest.mark.package
@pytest.mark.parametrize("package", PACKAGES)
def test_sdist_holds_every_file_of_each_package(built, package):
    folder = f"promptweight-{promptweight.__version__}/{PACKAGES[package].relative_to(ROOT).as_posix()}/"
    with tarfile.open(built.sdist) as sdist:
        inside = {
            member.name.removeprefix(folder)
            for member in sdist.getmembers()
            if member.isfile() and member.name.startswith(folder)
        }
    assert inside == built.sources[package]


@pytest.mark.package
def test_wheel_holds_types_faces_and_weights_and_nothing_else(built):
    with zipfile.ZipFile(built.wheel) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {
        *PACKAGES,
        f"promptweight-{promptweight.__version__}.dist-info",
    }
    assert {"promptweight/py.typed", "promptweight/__init__.pyi", "promptweight/prompt/__init__.pyi"} <= {
        *names
    }
    weights = [name for name in names if name.startswith("promptweight/mini/weights/")]
    assert any(name.endswith(".safetensors") for name in weights)


@pytest.mark.package
def test_wheel_and_sdist_hold_the_license(built):
    with zipfile.ZipFile(built.wheel) as wheel, tarfile.open(built.sdist) as sdist:
        for names in (wheel.namelist(), sdist.getnames()):
            assert any(name.endswith("/LICENSE") for name in names)


@pytest.mark.package
@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_installed_package_generates_images_in_a_fresh_environment(built, kind, tmp_path):
    """The environment shares this one's libraries; promptweight comes from the built file alone."""
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    (site,) = json.loads(
        run(
            python,
            "-c",
            "import json, sysconfig; print(json.dumps([sysconfig.get_path('purelib')]))",
            cwd=tmp_path,
        )
    )
    # A .pth file adds the folders of libraries, but not the finders of editable installs.
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (Path(site) / "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(
        *install, "--no-deps", "--no-build-isolation", "--force-reinstall", getattr(built, kind), cwd=tmp_path
    )

    for package in PACKAGES:
        file = run(python, "-c", f"import {package}; print({package}.__file__)", cwd=tmp_path)
        assert Path(file.strip()).is_relative_to(environment)
    output = run(
        *(programs / "promptweight", "generate", "um (gato:1.4) vermelho", "-o", "out"),
        *("--overlay", "gato", "--steps", "2", "--seed", "1"),
        cwd=tmp_path,
    )
    images = sorted((tmp_path / "out").glob("*.png"))
    assert len(images) == 2, output
    assert "um (gato:1.4) vermelho" in run(programs / "promptweight", "info", images[0], cwd=tmp_path)


def test_citation_names_this_version_and_license():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["version"] == promptweight.__version__
    assert citation["license"] == "Apache-2.0"


def test_makefile_runs_every_check_of_ci():
    """`make check` is CI's script; every check in it has a quick target with the same command."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^check:.*\n\t\.ci/run\n", makefile, re.MULTILINE)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [
        line.strip() for line in script if line.strip().startswith(("ruff ", "mypy ", "lint-imports", "npm "))
    ]
    assert {command.split()[0] for command in commands} == {"ruff", "mypy", "lint-imports", "npm"}
    for command in commands:
        assert f"\t{command}\n" in makefile, f"Makefile does not run: {command}"


def test_ci_runs_every_mark_that_pytest_deselects_by_default(pytestconfig):
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    marks = {line.split(":")[0] for line in pytestconfig.getini("markers")} & {
        "slow",
        "browser",
        "package",
        "launch",
    }
    (selected,) = re.findall(r'^pytest -m "(.*)"$', script, re.MULTILINE)
    assert set(selected.split(" or ")) == marks
    deselected = pytestconfig.getini("addopts")[pytestconfig.getini("addopts").index("-m") + 1]
    assert {part.removeprefix("not ") for part in deselected.split(" and ")} == marks


def test_every_path_in_contributing_exists():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:promptweight|tests|ui|examples)/[\w./-]*)`", page))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


PAGES = ["README.md", "README.pt-br.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/notebooks/README.md"]
DOCUMENTS = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("name", [*PAGES, *sorted(DOCUMENTS)])
def test_every_relative_link_of_a_page_exists(name):
    page = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert links or name in DOCUMENTS
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_oldest_versions_are_those_that_the_package_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = [*project["dependencies"], *project["optional-dependencies"]["lora"]]
    floors = {}
    for requirement in allowed:
        name, floor = re.match(r"([\w.-]+)>=([\d.]+)", requirement).groups()
        floors[name] = ([int(part) for part in floor.split(".")] + [0, 0])[:3]
    tested = {}
    for line in (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            tested[name] = ([int(part) for part in version.split(".")] + [0, 0])[:3]
    assert tested.keys() == floors.keys()
    assert {name for name in tested if tested[name] != floors[name]} == {"torch"}
