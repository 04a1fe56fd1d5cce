"""A filter before Gradio's server, which lets through only the requests that the page needs.

Gradio itself also fetches addresses for anybody (``/gradio_api/file=http://...``, or a file with an address as its
path), serves a cache folder in the working directory, and decodes recordings and links. The page needs none of this, so
every request that is not listed here is refused.
"""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.user_files import parse_json
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Message, Receive, Send], Awaitable[None]]

MOST_JSON = 1_000_000  # bytes of a request; images are uploaded before it
_PREFIX = "/gradio_api"
_READ = re.compile(
    r"/|/config/?|/theme\.css|/robots\.txt|/favicon\.ico|/manifest\.json|/pwa_icon(/\d+)?|/(static|assets|svelte)/.*"
    rf"|{_PREFIX}/(info/?|app_id/?|user/?|token/?|login_check/?|theme\.css|startup-events|queue/(data|status)"
    r"|heartbeat/[^/]+|upload_progress)"
)
_WRITTEN = re.compile(rf"{_PREFIX}/(queue/join|cancel/?|reset/?)")
_UPLOAD = f"{_PREFIX}/upload"
_FILE = f"{_PREFIX}/file="
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_CLAIMS = (b"x-forwarded-", b"forwarded", b"x-original-", b"x-real-ip", b"x-gradio-", b"x-direct-url")
"""Prefixes of headers that claim where a request comes from or where the page is; they are removed."""
_HEADERS = {
    b"content-security-policy": (
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        b"connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
        b"frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}
"""Headers of every response: other sites may not embed the page or its contents, and the page loads only from itself.
Gradio uses inline scripts and makes functions from text, so these two must be allowed."""
_log = logging.getLogger("uvicorn.error")


class RequestFilter:
    """ASGI middleware that refuses what the page does not need: with 404, files with 403.

    Args:
        app: The application behind it.
        folder: The page's own folder; files outside it are neither served nor accepted as uploads.
        local: Whether requests must have this machine itself as their host. This keeps out pages of other sites even if
            their name resolves to this machine (DNS rebinding).
    """

    def __init__(self, app: App, folder: str, *, local: bool) -> None:
        self.app = app
        self.folder = Path(folder).resolve()
        self.local = local

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        scope = {
            **scope,
            "headers": [header for header in scope["headers"] if not header[0].lower().startswith(_CLAIMS)],
        }
        send, begun = _with_headers(send)
        refused = (404, "not found") if scope["type"] != "http" else self._refused(scope)
        if refused is None and scope["method"] == "POST" and scope["path"] != _UPLOAD:
            body = await _body(receive)
            refused = self._refused_body(body)
            receive = _replay(body or b"", receive)
        if refused is None:
            await self._answer(scope, receive, send, begun)
        elif scope["type"] == "http":
            await _respond(send, *refused)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Message, receive: Receive, send: Send, begun: list[int]) -> None:
        """Pass a request on; if Gradio fails on it the response is 400, and the log gets one line."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:  # noqa: BLE001  (Gradio raises all sorts of errors on strange requests)
            _log.warning("%s %s cannot be answered: %s", scope["method"], scope["path"], type(error).__name__)
            if not begun:
                await _respond(send, 400, "this cannot be answered")

    def _refused(self, scope: Message) -> tuple[int, str] | None:
        path: str = scope["path"]
        if self.local and _host(scope) not in _LOCAL:
            return 403, "this page is open on this machine only: use http://127.0.0.1"
        if scope["method"] not in ("GET", "HEAD") and not _is_same_site(scope):
            return 403, "this page is asked by itself alone, not by other sites"
        if scope["method"] in ("GET", "HEAD"):
            if path.startswith(_FILE):
                return None if self._is_served(path.removeprefix(_FILE)) else (403, "no such file is served")
            return None if _READ.fullmatch(path) else (404, "not found")
        if scope["method"] == "POST" and (path == _UPLOAD or _WRITTEN.fullmatch(path)):
            return None
        return 404, "not found"

    def _is_served(self, path: str) -> bool:
        """Return whether a path is a file in the page's folder, with links resolved."""
        if "\0" in path:
            return False
        place = Path(os.path.realpath(path))
        return place.is_absolute() and place.is_relative_to(self.folder) and place.is_file()

    def _refused_body(self, body: bytes | None) -> tuple[int, str] | None:
        if body is None:
            return 413, "the question is too long"
        try:
            request = parse_json((body or b"{}").decode(errors="replace"), "the question is no JSON")
        except InputError as error:
            return 400, str(error)
        if not isinstance(request, dict):
            return 400, "the question is no object"
        for path in _paths(request):
            if not self._is_served(path):
                return 403, "a picture must be uploaded first"
        return None


def _paths(request: Any) -> Iterator[str]:
    """Find every path of a file in a request, at any depth."""
    waiting = [request]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get("path"), str):
                yield part["path"]
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _header(scope: Message, wanted: bytes) -> str:
    """Return a header's value in lower case; empty where it is missing or occurs twice."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
    return values[0].lower() if len(values) == 1 else ""


def _host(scope: Message) -> str:
    return re.sub(r":\d*$", "", _header(scope, b"host"))


def _is_same_site(scope: Message) -> bool:
    """Return whether a request that changes something is not from another site's page, by the browser's headers."""
    site = _header(scope, b"sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    if all(name != b"origin" for name, _ in scope["headers"]):
        return True  # not a browser
    return _header(scope, b"origin").partition("://")[2] == _header(scope, b"host") != ""


def _with_headers(send: Send) -> tuple[Send, list[int]]:
    """Wrap ``send`` with the headers of every response and without CORS headers; returns the sent statuses, too."""
    begun: list[int] = []

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            begun.append(message["status"])
            kept = [
                (name, value)
                for name, value in message.get("headers", [])
                if name.lower() not in _HEADERS and not name.lower().startswith(b"access-control-")
            ]
            message = {**message, "headers": [*kept, *_HEADERS.items()]}
        await send(message)

    return send_with_headers, begun


async def _body(receive: Receive) -> bytes | None:
    """Read the body of a request; None where it is too long."""
    parts: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        length += len(part)
        if length > MOST_JSON:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Make a ``receive`` that gives a body that was read already, and then what follows."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again


async def _respond(send: Send, status: int, text: str) -> None:
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
