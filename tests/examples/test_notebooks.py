"""The notebooks in Portuguese and in English are what their sources say, and run from first to last cell."""

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


def built(source: str, language: str):
    return make.build((FOLDER / "sources" / f"{source}.py").read_text(encoding="utf-8"), language)


@pytest.mark.parametrize(("source", "language", "path"), NOTEBOOKS)
def test_a_notebook_says_what_its_source_says(source, language, path):
    written = nbformat.read(path, as_version=4)
    nbformat.validate(written)
    cells = [(cell.id, cell.cell_type, cell.source) for cell in written.cells]
    assert cells == [(cell.id, cell.cell_type, cell.source) for cell in built(source, language).cells], (
        "write it again with: python examples/notebooks/make.py"
    )


@pytest.mark.parametrize(("source", "language", "path"), NOTEBOOKS)
def test_a_notebook_keeps_what_it_shows(source, language, path):
    """A reader who runs nothing sees its numbers and pictures."""
    assert path.stat().st_size < 2_000_000
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), (
        "run it with: python examples/notebooks/make.py --execute"
    )
    kept = [output.get("data", {}) for cell in code for output in cell.outputs]
    assert any("image/png" in data for data in kept)
    assert not any("image/jpeg" in data for data in kept)


@pytest.mark.parametrize(("source", "language", "path"), NOTEBOOKS)
def test_a_notebook_runs_without_a_network(source, language, path, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = built(source, language)
    make.execute(notebook, tmp_path)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


def test_every_notebook_of_the_folder_has_a_source():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {
        name for names in make.NAMES.values() for name in names.values()
    }
    assert {path.stem for path in (FOLDER / "sources").glob("*.py")} == set(make.NAMES)


@pytest.mark.parametrize("source", make.NAMES)
def test_both_languages_compute_the_same(source):
    """Only printed text may differ: as many cells of each kind, and the same code but for its strings."""
    portuguese, english = (built(source, language) for language in ("pt", "en"))
    assert [cell.cell_type for cell in portuguese.cells] == [cell.cell_type for cell in english.cells]
    lines = [
        (ours, theirs)
        for one, other in zip(portuguese.cells, english.cells, strict=True)
        if one.cell_type == "code"
        for ours, theirs in zip(one.source.splitlines(), other.source.splitlines(), strict=True)
        if ours != theirs
    ]
    assert all(ours.lstrip().startswith("print(") for ours, _ in lines), lines


def test_a_source_is_read_cell_by_cell():
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


def test_a_cell_of_an_unknown_kind_is_an_error():
    with pytest.raises(
        ValueError, match=r'line 2 begins no cell of a known kind: # %% \[markdown\] lang="de"'
    ):
        make.build('"""Head."""\n# %% [markdown] lang="de"\n', "pt")
