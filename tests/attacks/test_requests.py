"""Hostile requests to the served app: nested and endless JSON, large uploads, and foreign pages and names."""

import httpx
import pytest

from tests.ui.conftest import served  # noqa: F401 (a fixture)

# other libraries warn inside the server's threads
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

BODIES = {
    "arrays": '{"data": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "open": "[" * 1_000_000,
    "digits": '{"data": [' + "9" * 100_000 + "]}",
    "numbers": '{"data": [NaN, Infinity, -Infinity, 1e999]}',
    "bytes": "\ud800".encode("utf-16-le", "surrogatepass"),
}


def send(served, path, **arguments):  # noqa: F811
    return httpx.post(f"{served.url}{path}", timeout=None, trust_env=False, **arguments)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("path", ["/gradio_api/call/generate", "/gradio_api/component_server"])
def test_hostile_json_is_refused_and_the_app_answers_on(served, path, body, caplog):  # noqa: F811
    answer = send(served, path, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code <= 500 or "event_id" in answer.text
    assert "/site-packages/" not in answer.text
    assert httpx.get(f"{served.url}/config", trust_env=False).status_code == 200


def test_upload_beyond_the_limit_is_refused(served):  # noqa: F811
    files = {"files": ("a.png", bytes(34_000_000), "image/png")}
    assert send(served, "/gradio_api/upload", files=files).status_code == 413


def test_upload_of_many_files_is_refused_as_a_whole(served):  # noqa: F811
    files = [("files", (f"{number}.png", bytes(26_000_000), "image/png")) for number in range(5)]
    answer = send(served, "/gradio_api/upload", files=files)
    assert (answer.status_code, answer.text) == (413, "A request may have at most 128,000,000 bytes.")


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/tmp/evil.png", "..\\evil.png", "a\0.png", "." * 300 + ".png"]
)
def test_name_of_an_upload_never_leaves_the_cache(served, name):  # noqa: F811
    answer = send(served, "/gradio_api/upload", files={"files": (name, b"x", "image/png")})
    if answer.status_code == 200:
        (path,) = answer.json()
        assert ".." not in path.split("/")
        assert "/gradio" in path


def test_foreign_pages_and_names_reach_nothing(served):  # noqa: F811
    files = {"files": ("a.png", b"x", "image/png")}
    foreign = {"Origin": "http://evil.example"}
    assert send(served, "/gradio_api/upload", files=files, headers=foreign).status_code == 403
    named = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert send(served, "/gradio_api/call/generate", content="{}", headers=named).status_code == 421
