"""Static files of the page: served modules, and their version."""

import httpx
import pytest

from promptweight.render import CONSTANTS
from promptweight_ui.static_files import STATIC, page_head, version


@pytest.fixture(scope="module")
def root(served):
    return f"{served.url}/promptweight/{version()}"


def test_every_module_is_served_as_javascript(root):
    for path in STATIC.glob("*.js"):
        answer = httpx.get(f"{root}/ui/promptweight_ui/static/{path.name}")
        assert answer.status_code == 200
        assert "javascript" in answer.headers["content-type"]
        assert answer.text == path.read_text(encoding="utf-8")


def test_constants_are_served_as_json(root):
    answer = httpx.get(f"{root}/promptweight/render/constants.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == CONSTANTS


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", ""])
def test_other_files_are_not_served(root, path):
    assert httpx.get(f"{root}/ui/promptweight_ui/static/{path}").status_code in (400, 404)


@pytest.mark.parametrize(("language", "argument"), [(None, "null"), ("pt-br", '"pt-br"')])
def test_head_starts_the_modules_of_this_version(language, argument):
    head = page_head(language)
    assert f"promptweight/{version()}/ui/promptweight_ui/static/app.js" in head
    assert f"page.start({argument})" in head
