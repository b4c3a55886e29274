"""Notebooks in Portuguese and in English: equal to their sources, without outputs, and free of errors."""

import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "notebooks"


def load_make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_notebooks", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load_make()
NOTEBOOKS = [
    pytest.param(source, language, FOLDER / f"{name}.ipynb", id=name)
    for source, names in make.NAMES.items()
    for language, name in names.items()
]


def build(source: str, language: str):
    return make.build((FOLDER / "sources" / f"{source}.py").read_text(encoding="utf-8"), language)


@pytest.mark.parametrize(("source", "language", "path"), NOTEBOOKS)
def test_notebook_equals_its_source_without_outputs(source, language, path):
    written = nbformat.read(path, as_version=4)
    nbformat.validate(written)
    assert written == build(source, language), "write it again with: python examples/notebooks/make.py"


@pytest.mark.slow
@pytest.mark.parametrize(("source", "language", "path"), NOTEBOOKS)
def test_notebook_runs_without_a_network(source, language, path, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = build(source, language)
    make.execute(notebook, tmp_path)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    types = {name for output in outputs for name in output.get("data", {})}
    assert "image/png" in types
    assert "image/jpeg" not in types
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


def test_every_notebook_has_a_source():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {
        name for names in make.NAMES.values() for name in names.values()
    }
    assert {path.stem for path in (FOLDER / "sources").glob("*.py")} == set(make.NAMES)


@pytest.mark.parametrize("source", make.NAMES)
def test_both_languages_hold_the_same_code_except_printed_text(source):
    portuguese, english = (build(source, language) for language in ("pt", "en"))
    assert [cell.cell_type for cell in portuguese.cells] == [cell.cell_type for cell in english.cells]
    lines = [
        (ours, theirs)
        for one, other in zip(portuguese.cells, english.cells, strict=True)
        if one.cell_type == "code"
        for ours, theirs in zip(one.source.splitlines(), other.source.splitlines(), strict=True)
        if ours != theirs
    ]
    assert all(ours.lstrip().startswith("print(") for ours, _ in lines), lines


def test_build_selects_cells_and_lines_of_one_language():
    source = '''"""Head."""
# %% [markdown] lang="pt"
# # Olá
#
# mundo
# %% [markdown] lang="en"
# # Hello
# %%
one = 1  # why
print("um")  # pt
print("one")  # en
'''
    portuguese, english = (make.build(source, language) for language in ("pt", "en"))
    assert [cell.source for cell in portuguese.cells] == ["# Olá\n\nmundo", 'one = 1  # why\nprint("um")']
    assert [cell.source for cell in english.cells] == ["# Hello", 'one = 1  # why\nprint("one")']
    assert [cell.id for cell in english.cells] == ["cell-0", "cell-1"]


def test_build_rejects_an_unknown_cell_header():
    with pytest.raises(ValueError, match=r'^line 2 must be the header .* got # %% \[markdown\] lang="de"$'):
        make.build('"""Head."""\n# %% [markdown] lang="de"\n', "pt")
