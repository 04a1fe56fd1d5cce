"""What comes through to Gradio, asked of the filter alone."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmgrad_explain.web.request_filter import MOST_JSON, RequestFilter


@pytest.fixture
def folder(tmp_path):
    own = tmp_path / "own"
    (own / "a").mkdir(parents=True)
    (own / "a" / "mine.png").write_bytes(b"mine")
    (tmp_path / "own-not").mkdir()
    (tmp_path / "own-not" / "other.png").write_bytes(b"other")
    (own / "link.png").symlink_to(tmp_path / "own-not" / "other.png")
    return own


@pytest.fixture
def ask(folder):
    """The status that a request gets, and the body that reached the server."""

    def call(
        path, method="GET", body=b"", host=b"127.0.0.1:7860", *, local=True, kind="http", parts=1, more=(), broken=None
    ):
        reached, sent = [], []

        async def server(scope, receive, send):
            if broken is not None:
                raise broken
            seen[:] = scope.get("headers", [])
            received = b""
            while method == "POST":
                message = await receive()
                received += message.get("body", b"")
                if not message.get("more_body"):
                    break
            reached.append(received)
            headers = [(b"Access-Control-Allow-Origin", b"*"), (b"x-frame-options", b"ALLOWALL"), (b"x-own", b"1")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})

        size = -(-len(body) // parts) or 1
        pieces = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
        messages = [{"type": "http.request", "body": one, "more_body": True} for one in pieces]
        messages[-1]["more_body"] = False

        async def receive():
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        headers = [*([] if host is None else [(b"host", host)]), *more]
        scope = {"type": kind, "path": path, "method": method, "headers": headers}
        answer = RequestFilter(server, str(folder), local=local)(scope, receive, send)
        with ThreadPoolExecutor(
            1
        ) as pool:  # a browser's test in the same process leaves its loop running in this thread
            pool.submit(asyncio.run, answer).result()
        answered[:] = sent[0].get("headers", [])
        return sent[0].get("status", sent[0].get("code")), reached[0] if reached else None

    seen, answered = [], []
    call.seen, call.answered = seen, answered
    return call


@pytest.mark.parametrize(
    "path",
    [
        "/", "/config", "/theme.css", "/assets/index.js", "/static/fonts/a.woff2", "/favicon.ico", "/manifest.json",
        "/gradio_api/info", "/gradio_api/queue/data", "/gradio_api/heartbeat/x1", "/gradio_api/upload_progress",
        "/gradio_api/startup-events", "/gradio_api/app_id",
    ],
)  # fmt: skip
def test_what_the_page_reads(ask, path):
    assert ask(path)[0] == 200
    assert ask(path, "HEAD")[0] == 200
    assert ask(path, "POST")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/deep_link", "/gradio_api/monitoring/summary",
        "/monitoring/summary", "/gradio_api/file/etc/passwd", "/gradio_api/custom_component/1/client/component/x",
        "/gradio_api/openapi.json", "/gradio_api/vibe-code", "/gradio_api/stream/a/b/1/playlist.m3u8", "/docs",
        "/gradio_api/dev/reload", "/login", "/gradio_api/heartbeat/a/b", "//", "", "/config/x",
        "/gradio_api/call/ask/1",
    ],
)  # fmt: skip
def test_what_it_does_not(ask, path):
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(path, method) == (404, None)


def test_files(ask, folder):
    assert ask(f"/gradio_api/file={folder}/a/mine.png")[0] == 200
    assert ask(f"/gradio_api/file={folder}/a/../a/mine.png")[0] == 200
    outside = (
        "/etc/passwd", "etc/passwd", f"{folder}/../own-not/other.png", f"{folder}-not/other.png", f"{folder}/link.png",
        f"{folder}/a", f"{folder}/none.png", f"{folder}/a/mine.png\0", "pyproject.toml", "http://127.0.0.1/x", "file:///etc/passwd",
        "//etc/passwd", "%2Fetc%2Fpasswd", f"{folder}/..%2Fown-not/other.png", "",
    )  # fmt: skip
    for path in outside:
        for method in ("GET", "HEAD"):
            assert ask(f"/gradio_api/file={path}", method) == (403, None), path
    assert ask(f"/gradio_api/file={folder}/a/mine.png", "POST") == (404, None)


def test_questions(ask, folder):
    good = {"data": [{"path": f"{folder}/a/mine.png", "meta": {"_type": "gradio.FileData"}}, "make it red", 3]}
    body = json.dumps(good).encode()
    for parts in (1, 3):
        assert ask("/gradio_api/queue/join", "POST", body, parts=parts) == (200, body)
    assert ask("/gradio_api/cancel", "POST", b"") == (200, b"")
    for path in (
        "/gradio_api/run/ask",
        "/gradio_api/call/ask",
        "/gradio_api/component_server",
        "/gradio_api/process_recording",
    ):
        assert ask(path, "POST", body) == (404, None)


@pytest.mark.parametrize("path", ["/etc/passwd", "http://169.254.169.254/latest", "https://example.org/x.png", "../x"])
def test_pictures_that_were_not_uploaded(ask, path):
    for said in (
        {"path": path},
        {"data": [1, {"deep": [[{"path": path}]]}]},
        {"data": [None, {"path": path, "x": {}}]},
    ):
        assert ask("/gradio_api/queue/join", "POST", json.dumps(said).encode()) == (403, None)


def test_questions_that_are_none(ask):
    assert ask("/gradio_api/queue/join", "POST", b"{") == (400, None)
    assert ask("/gradio_api/queue/join", "POST", b"\xff") == (400, None)
    assert ask("/gradio_api/queue/join", "POST", b" " * (MOST_JSON + 1), parts=5) == (413, None)
    deep = b"[" * 100_000 + b"]" * 100_000
    assert ask("/gradio_api/queue/join", "POST", deep) == (400, None)


def test_uploads_go_through_as_they_are(ask):
    body = b"--x\r\nno json" * 200_000
    assert ask("/gradio_api/upload", "POST", body, parts=4) == (200, body)


def test_other_names_than_this_machines(ask):
    for host in (b"localhost", b"LOCALHOST:1", b"[::1]:7860", b"127.0.0.1"):
        assert ask("/", host=host)[0] == 200
    for host in (b"example.org", b"127.0.0.1.example.org:7860", b"", None, b"192.168.0.2:7860"):
        assert ask("/", host=host) == (403, None)
        assert ask("/", host=host, local=False)[0] == 200


def test_other_kinds(ask):
    assert ask("/", kind="websocket") == (1008, None)
    assert ask("/", kind="lifespan")[0] == 200


JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"


@pytest.mark.parametrize("path", [JOIN, UPLOAD])
def test_other_sites_change_nothing(ask, path):
    """Browsers say which page a request is from; what says nothing of it is no browser."""
    from_here = (
        [], [(b"origin", b"http://127.0.0.1:7860")],
        [(b"sec-fetch-site", b"same-origin")], [(b"sec-fetch-site", b"none")],
    )  # fmt: skip
    for more in from_here:
        assert ask(path, "POST", b"{}", more=more)[0] == 200
    from_elsewhere = (
        [(b"origin", b"http://example.org")], [(b"origin", b"null")], [(b"origin", b"")],
        [(b"origin", b"http://127.0.0.1:8000")],
        [(b"sec-fetch-site", b"cross-site")], [(b"sec-fetch-site", b"same-site")],
        [(b"origin", b"http://127.0.0.1:7860"), (b"sec-fetch-site", b"cross-site")],
        [(b"origin", b"http://127.0.0.1:7860"), (b"origin", b"http://example.org")],
    )  # fmt: skip
    for more in from_elsewhere:
        for local in (True, False):
            assert ask(path, "POST", b"{}", more=more, local=local) == (403, None), more
    assert ask("/", more=[(b"sec-fetch-site", b"cross-site")])[0] == 200  # a link to the page


def test_what_a_request_claims_is_not_believed(ask):
    claims = (b"X-Forwarded-Host", b"x-forwarded-proto", b"forwarded", b"x-original-url", b"x-gradio-server")
    assert ask("/", more=[(name, b"example.org") for name in claims])[0] == 200
    assert ask.seen == [(b"host", b"127.0.0.1:7860")]


@pytest.mark.parametrize("path", ["/", "/nowhere", "/gradio_api/file=/etc/passwd"])
def test_what_every_answer_says(ask, path):
    ask(path)
    said = dict(ask.answered)
    assert said[b"x-content-type-options"] == b"nosniff"
    assert said[b"x-frame-options"] == b"DENY"
    assert said[b"referrer-policy"] == b"same-origin"
    policy = said[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert not any(name.lower().startswith(b"access-control") for name in said)
    assert (b"x-own" in said) == (path == "/")


def test_what_gradio_cannot_answer_is_one_line(ask, caplog):
    assert ask(JOIN, "POST", b"{}", broken=KeyError("x")) == (400, None)
    assert [record.getMessage() for record in caplog.records] == [f"POST {JOIN} cannot be answered: KeyError"]
    assert caplog.records[0].exc_info is None


@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'{"session_hash": "\\ud800"}', b'{"fn_index": 1'])
def test_questions_of_another_form(ask, body):
    assert ask(JOIN, "POST", body) == (400, None)
