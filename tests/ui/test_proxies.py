"""The app behind a reverse proxy, and on a machine that reaches the web through a proxy."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from promptweight_ui.app import launch

# other libraries warn inside the server's threads
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def start():
    """Function that serves the app without a model and returns its address."""
    apps = []

    def start(**options):
        app = launch(
            ["mini"], port=0, output_dir=None, load_now=False, prevent_thread_lock=True, quiet=True, **options
        )
        apps.append(app)
        return app.local_url.rstrip("/")

    yield start
    for app in apps:
        app.close()


@pytest.fixture
def proxy_of():
    """Function that serves an address below a path, and returns the address of that path."""
    servers = []

    def proxy_of(target, path):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                found = httpx.get(
                    target + self.path.removeprefix(path),
                    headers={"Host": self.headers["Host"]},
                    trust_env=False,
                )
                self.send_response(found.status_code)
                self.send_header("Content-Type", found.headers.get("content-type", ""))
                self.send_header("Content-Length", str(len(found.content)))
                self.end_headers()
                self.wfile.write(found.content)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}{path}"

    yield proxy_of
    for server in servers:
        server.shutdown()
        server.server_close()


def test_page_and_its_parts_are_below_the_path_of_a_reverse_proxy(start, proxy_of):
    address = proxy_of(start(root_path="/images"), "/images")
    with httpx.Client(trust_env=False) as http:
        page = http.get(f"{address}/")
        assert page.status_code == 200
        assert http.get(f"{address}/config").json()["root"] == address
        (script,) = set(re.findall(r"\./(promptweight/\w+/ui/promptweight_ui/static/app\.js)", page.text))
        assert http.get(f"{address}/{script}").status_code == 200


def test_address_of_a_reverse_proxy_is_that_of_the_page(start):
    address = start(root_path="https://example.org/images")
    with httpx.Client(trust_env=False) as http:
        assert http.get(f"{address}/config").json()["root"] == "https://example.org/images"


def test_app_starts_where_the_web_is_behind_a_proxy(start, monkeypatch):
    """A connection to this machine never goes through it."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    address = start()
    with httpx.Client(trust_env=False) as http:
        assert http.get(f"{address}/config").status_code == 200
