"""What stands before Gradio's server: only what the page needs comes through.

Gradio by itself also fetches addresses for whoever asks (``/gradio_api/file=http://...``, or a file whose path is an
address), serves what lies in a cache folder in the working directory, and takes recordings and links apart. None of
this is needed here, so that everything which is not listed is refused.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Message, Receive, Send], Awaitable[None]]

MOST_JSON = 1_000_000  # bytes of a question; pictures are uploaded before it
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


class Gate:
    """ASGI middleware that refuses what the page does not need: with 404, files with 403.

    Args:
        app: What is behind it.
        folder: The page's own folder; no file outside it is served or taken as an upload.
        local: Whether requests must name this machine itself as their host, which keeps other sites' pages out even
            where they have their name point here (DNS rebinding).
    """

    def __init__(self, app: App, folder: str, *, local: bool) -> None:
        self.app = app
        self.folder = Path(folder).resolve()
        self.local = local

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refused = (404, "not found") if scope["type"] != "http" else self._refused(scope)
        if refused is None and scope["method"] == "POST" and scope["path"] != _UPLOAD:
            body = await _body(receive)
            refused = self._refused_body(body)
            receive = _again(body or b"", receive)
        if refused is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _say(send, *refused)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _refused(self, scope: Message) -> tuple[int, str] | None:
        path: str = scope["path"]
        if self.local and _host(scope) not in _LOCAL:
            return 403, "this page is open on this machine only: use http://127.0.0.1"
        if scope["method"] in ("GET", "HEAD"):
            if path.startswith(_FILE):
                return None if self._own(path.removeprefix(_FILE)) else (403, "no such file is served")
            return None if _READ.fullmatch(path) else (404, "not found")
        if scope["method"] == "POST" and (path == _UPLOAD or _WRITTEN.fullmatch(path)):
            return None
        return 404, "not found"

    def _own(self, path: str) -> bool:
        """Whether a path is a file in the page's folder, links followed."""
        if "\0" in path:
            return False
        place = Path(os.path.realpath(path))
        return place.is_absolute() and place.is_relative_to(self.folder) and place.is_file()

    def _refused_body(self, body: bytes | None) -> tuple[int, str] | None:
        if body is None:
            return 413, "the question is too long"
        try:
            said = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            return 400, "the question is no JSON"
        for path in _paths(said):
            if not self._own(path):
                return 403, "a picture must be uploaded first"
        return None


def _paths(said: Any) -> Iterator[str]:
    """Every path of a file that a question names, however deep."""
    waiting = [said]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(one.get("path"), str):
                yield one["path"]
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _host(scope: Message) -> str:
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    return re.sub(r":\d*$", "", hosts[0]).lower() if len(hosts) == 1 else ""


async def _body(receive: Receive) -> bytes | None:
    """All of a request's body; None where it is too long."""
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


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already, then whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give


async def _say(send: Send, status: int, text: str) -> None:
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
