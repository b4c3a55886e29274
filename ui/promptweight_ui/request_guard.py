"""Checks of every request before the app answers it: names of the server, sizes, and wrong logins.

A page of the web can reach a server on this machine under a name of its own (DNS rebinding). A server for
this machine alone therefore answers only requests to its own names, from its own pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 8_000_000
"""Largest body of a request in bytes, uploads of files excepted."""

MAX_UPLOAD = 128_000_000
"""Largest body of an upload in bytes; Gradio limits each of its files."""

WRONG_LOGIN_DELAY = 1.0
"""Seconds before the answer to a wrong login; a client's next login waits for it."""

MAX_CLIENTS = 1000
"""Clients whose logins are kept apart; more share their waiting."""


class _BodyTooLargeError(HTTPException):
    """Exit from reading a body without a stated length, of a class that apps answer without a traceback."""

    def __init__(self) -> None:
        super().__init__(413)


class RequestGuard:
    """ASGI middleware that refuses requests, with a sentence.

    Args:
        app: the application.
        hosts: the names under which the server may be called and from which pages may send to it; every name
            when None.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None = None) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset(hosts)
        self._logins: dict[str, asyncio.Lock] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._find_refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        if path.endswith("/login") and scope["method"] == "POST":
            await self._log_in(scope, receive, send)
        else:
            await self._limit_body(scope, receive, send)

    def _find_refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if self._hosts is not None:
            host = _host_of(f"//{headers.get('host', '')}")
            if host not in self._hosts:
                text = f"This server does not answer to the name {host!r}."
                return PlainTextResponse(text, 421)
            origin = headers.get("origin")
            if origin is not None and origin != "null" and _host_of(origin) not in self._hosts:
                return PlainTextResponse("Pages of other sites cannot use this server.", 403)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > _most(scope):
            return _too_large(_most(scope))
        return None

    async def _limit_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, has_begun, is_refused, most = 0, False, False, _most(scope)

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise _BodyTooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal has_begun, is_refused
            if size > most and not has_begun:  # in place of what the app makes of the exception
                is_refused = has_begun = True
                await _too_large(most)(scope, receive, send)
            elif not is_refused:
                has_begun = True
                await send(message)

        try:
            await self._app(scope, counted, watched)
        except _BodyTooLargeError:
            if not has_begun:
                await _too_large(most)(scope, receive, send)

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a login on, one of a client at a time; answer a wrong one after a delay."""

        async def delayed(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                await asyncio.sleep(WRONG_LOGIN_DELAY)
            await send(message)

        client = scope["client"][0] if scope.get("client") else ""
        if client not in self._logins and len(self._logins) >= MAX_CLIENTS:
            client = ""
        async with self._logins.setdefault(client, asyncio.Lock()):
            await self._app(scope, receive, delayed)


def _host_of(address: str) -> str:
    """Return the host of an address in lower case, without its port; empty if there is none."""
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _most(scope: Scope) -> int:
    """Return the largest body of a request to this path."""
    return MAX_UPLOAD if scope["path"].rstrip("/").endswith("/upload") else MAX_BODY


def _too_large(most: int) -> PlainTextResponse:
    return PlainTextResponse(f"A request may have at most {most:,} bytes.", 413)
