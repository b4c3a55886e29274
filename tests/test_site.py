"""The documentation site: it builds without a warning, and every page is in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import promptweight

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with warnings as errors: dead links, pages outside the menu, faulty docstrings."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", ROOT / "docs", target]
    done = subprocess.run(
        command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.slow
def test_site_has_every_page_and_notebook(site):
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    notebooks = [Path("notebooks", path.name) for path in (ROOT / "examples" / "notebooks").glob("*.ipynb")]
    assert len(notebooks) == 10
    missing = [page for page in [*pages, *notebooks] if not (site / page.with_suffix(".html")).is_file()]
    assert missing == []


@pytest.mark.slow
def test_api_page_describes_every_public_name(site):
    page = (site / "api.html").read_text(encoding="utf-8")
    described = set(re.findall(r'id="promptweight\.(\w+)"', page))
    assert {name for name in promptweight.__all__ if name not in ("__version__", "errors")} <= described


@pytest.mark.slow
def test_links_of_a_page_to_files_outside_the_folder_lead_to_pages(site):
    page = (site / "measurements.html").read_text(encoding="utf-8")
    assert 'href="model-cards/mini.html"' in page
    assert "README.md" not in page


@pytest.mark.slow
@pytest.mark.parametrize("name", ["the_weight_of_a_word", "o_peso_de_uma_palavra", "what_is_attention"])
def test_formulas_of_the_notebooks_need_no_script(site, name):
    page = (site / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in page
    assert not re.search(r"\$[^$<]*\\[a-z]+[^$<]*\$|src=\"[^\"]*mathjax", page)


@pytest.mark.slow
def test_site_has_the_recorded_pages_of_explore_and_links_them(site):
    assert 'href="explore/index.html"' in (site / "app.html").read_text(encoding="utf-8")
    for name in ("index.html", "pt-br.html"):
        page = (site / "explore" / name).read_text(encoding="utf-8")
        assert 'data-site="../notebooks"' in page
        assert "pw-explore" in page
