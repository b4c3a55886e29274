"""Requests that the app refuses: foreign names and pages, large bodies, wrong logins in a row."""

import asyncio
import time

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from promptweight_ui import request_guard
from promptweight_ui.app import own_hosts
from promptweight_ui.request_guard import MAX_BODY, RequestGuard

OWN = ("127.0.0.1", "localhost", "::1")


async def echo(request: Request):
    return PlainTextResponse(str(len(await request.body())))


async def login(request: Request):
    right = await request.body() == b"right"
    return PlainTextResponse("in" if right else "out", 200 if right else 400)


def ask(*requests, hosts=OWN):
    """Return the answers to requests, each (method, path, headers, content), that are sent at once."""
    methods = ["GET", "POST"]
    routes = [Route("/login", login, methods=methods), Route("/{path:path}", echo, methods=methods)]

    async def send_all():
        transport = httpx.ASGITransport(RequestGuard(Starlette(routes=routes), hosts))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
            sent = (
                client.request(method, path, headers=headers, content=content)
                for method, path, headers, content in requests
            )
            return await asyncio.gather(*sent)

    return asyncio.run(send_all())


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860"])
def test_own_names_are_answered(host):
    (answer,) = ask(("GET", "/config", {"Host": host}, b""))
    assert answer.status_code == 200


@pytest.mark.parametrize("host", ["evil.example:7860", "127.0.0.1.evil.example", "", "[::1", "localhost.x"])
def test_other_names_are_refused(host):
    (answer,) = ask(("GET", "/config", {"Host": host}, b""))
    assert answer.status_code == 421


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/call/generate", "/config"])
def test_pages_of_other_sites_are_refused(path):
    headers = {"Origin": "http://evil.example:7860"}
    (answer,) = ask(("POST", path, headers, b"x"))
    assert answer.status_code == 403
    (answer,) = ask(("POST", path, {"Origin": "http://localhost:7860"}, b"x"))
    assert answer.status_code == 200


def test_servers_for_others_answer_to_every_name():
    headers = {"Host": "images.example", "Origin": "https://images.example"}
    (answer,) = ask(("POST", "/config", headers, b"x"), hosts=None)
    assert answer.status_code == 200


def test_large_bodies_are_refused_with_and_without_a_length():
    class Pieces:
        left = 9

        def __aiter__(self):
            return self

        async def __anext__(self):
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return b"x" * (MAX_BODY // 8)

    stated, streamed, upload, fitting = ask(
        ("POST", "/call", {}, b"x" * (MAX_BODY + 1)),
        ("POST", "/call", {}, Pieces()),
        ("POST", "/gradio_api/upload", {}, b"x" * (MAX_BODY + 1)),
        ("POST", "/call", {}, b"x" * MAX_BODY),
    )
    assert (stated.status_code, streamed.status_code) == (413, 413)
    assert (upload.text, fitting.text) == (str(MAX_BODY + 1), str(MAX_BODY))


def test_wrong_logins_of_a_client_are_answered_one_after_the_other(monkeypatch):
    monkeypatch.setattr(request_guard, "WRONG_LOGIN_DELAY", 0.05)
    begun = time.monotonic()
    answers = ask(*[("POST", "/login", {}, b"wrong")] * 4, ("POST", "/login", {}, b"right"))
    assert time.monotonic() - begun >= 4 * 0.05  # a lower limit, however slow the machine is
    assert [answer.status_code for answer in answers] == [400] * 4 + [200]


@pytest.mark.parametrize(
    ("host", "options", "expected"),
    [
        ("127.0.0.1", {}, {*OWN}),
        ("localhost", {"root_path": "https://images.example/a"}, {*OWN, "images.example"}),
        ("127.0.0.1", {"root_path": "/images"}, None),
        ("127.0.0.1", {"share": True}, None),
        ("0.0.0.0", {}, None),
    ],
)
def test_names_of_a_server(host, options, expected, monkeypatch):
    monkeypatch.delenv("GRADIO_ROOT_PATH", raising=False)
    assert own_hosts(host, **options) == expected


def test_served_app_refuses_another_name(served):
    assert httpx.get(f"{served.url}/config", headers={"Host": "evil.example"}).status_code == 421
    assert httpx.get(f"{served.url}/config").status_code == 200
