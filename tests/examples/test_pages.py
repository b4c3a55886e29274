"""Python code in the pages of the repository: short, equal in both languages, and it runs."""

import ast
import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("promptweight", "docs", "examples", "tests", "ui")
MAX_LINES = 10
READMES = ("README.md", "README.pt-br.md")
QUICK_STARTS = ("docs/quick-start.md", "docs/pt-br/inicio-rapido.md")
IMAGES = {
    "README.md": {"overlay.png"},
    "README.pt-br.md": {"sobreposicao.png"},
    "docs/quick-start.md": {"image.png", "overlay.png"},
    "docs/pt-br/inicio-rapido.md": {"imagem.png", "sobreposicao.png"},
    "docs/editing.md": {"edit.png"},
}
"""Images that a page's code writes into the working directory."""

NEED_MORE = ("init_pipeline(", "requests.post(", "gradio_client")
"""Calls in blocks that need a download or a server; tests/modular and tests/ui make the same ones."""


def blocks(name):
    """Return the Python blocks of a page."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(r"^ *```py(?:thon)?\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
    if blocks(path)
)


def test_pages_that_write_images_have_python_blocks():
    assert set(IMAGES) <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_python_block_is_short(name):
    for block in blocks(name):
        assert len(block.splitlines()) <= MAX_LINES, block


def test_python_blocks_of_both_readmes_differ_in_names_and_printed_text_only():
    def lines(name):
        code = "".join(ast.unparse(ast.parse(block)) + "\n" for block in blocks(name))
        return [re.sub(r"'\w+\.png'", "FILE", line) for line in code.splitlines() if "print(" not in line]

    english, portuguese = (lines(name) for name in READMES)
    assert english == portuguese


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "README.md" else pytest.mark.slow) for name in PAGES]
)
def test_python_of_the_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    namespace = {}
    for number, block in enumerate(blocks(name)):
        if any(call in block for call in NEED_MORE):
            continue
        exec(compile(block, f"{name}, block {number + 1}", "exec"), namespace)
    written = {path.name for path in tmp_path.glob("*.png")}
    assert written == IMAGES.get(name, set())
    for each in written:
        with Image.open(tmp_path / each) as image:
            assert len(image.convert("RGB").getcolors(1 << 24)) > 10
    if "heat" in namespace and "image" in namespace:
        assert tuple(namespace["heat"].shape) == namespace["image"].size[::-1]
    if name in QUICK_STARTS:
        assert len(list((tmp_path / "out").glob("*.png"))) == 4
        assert namespace["share"].share == pytest.approx(0.4, abs=0.01)
    if name == "docs/editing.md":
        assert namespace["result"].edited.prompt.text == "um gato vermelho e um rato"
