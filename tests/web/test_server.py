"""The page on a real server, asked over plain HTTP as a browser would and as it would not."""

import io
import json
import logging
import os
import socket
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

import mmgrad_explain
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.gallery import Gallery
from mmgrad_explain.web import server as serving
from mmgrad_explain.web.examples import draw_examples, write_example_images
from mmgrad_explain.web.limits import Limits
from mmgrad_explain.web.server import find_port, running

LIMITS = Limits(upload_mb=0.5, pixels=200_000, waiting=3)


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_folder):
    """A folder that the page is started in, with a gallery and files that nobody is to see."""
    folder = tmp_path_factory.mktemp("cwd")
    (folder / "secret.txt").write_text("secret")
    (folder / ".gradio" / "cached_examples").mkdir(parents=True)
    (folder / ".gradio" / "cached_examples" / "old.png").write_bytes(b"secret")
    (folder / "secret.png").write_bytes(png(8, 8))
    write_example_images(folder / "pictures")
    with Gallery(folder / "mine.db", tiny_folder, create=True) as gallery:
        gallery.index([folder / "pictures"])
    return folder


@pytest.fixture(scope="module")
def address(place, tiny_folder):
    before = Path.cwd()
    os.chdir(place)
    try:
        with running(LIMITS, models=[str(tiny_folder)], gallery="mine.db", device="cpu") as found:
            yield found
    finally:
        os.chdir(before)


def png(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def config(address):
    return httpx.get(f"{address}config").json()


@pytest.fixture
def upload(address):
    def call(content, name="mine.png"):
        done = httpx.post(f"{address}gradio_api/upload", files={"files": (name, content)}, timeout=30)
        return (
            {"path": done.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}
            if done.is_success
            else done
        )

    return call


@pytest.fixture
def ask(address, config):
    """Ask as a page does: join the queue, wait for the answer; gives the outputs, or why there are none."""

    def call(name, *data, session="", event=None):
        session = session or uuid.uuid4().hex
        number = next(one["id"] for one in config["dependencies"] if one["api_name"] == name)
        body = {"data": list(data), "fn_index": number, "session_hash": session, "event_data": event}
        joined = httpx.post(f"{address}gradio_api/queue/join", json=body, timeout=30)
        if not joined.is_success:
            return joined
        url = f"{address}gradio_api/queue/data?session_hash={session}"
        with httpx.stream("GET", url, timeout=120) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                if message.get("msg") == "process_completed":
                    return message["output"]
        return None

    return call


def question(picture, text="make it red", target=None, model="reference", **method):
    chosen = {"layer": "", "score": "", "method": "gradcam", "words": True, "phrases": False, "answer": ""} | method
    return "ask", picture, text, target, model, *chosen.values()


def alert(output):
    return output["data"][-1]


def test_the_page_and_its_first_answer(address, config):
    page = httpx.get(address)
    assert page.status_code == 200
    assert "Where does the model look?" in page.text
    shown = [one["props"]["value"] for one in config["components"] if one["props"].get("elem_id") == "maps"]
    assert shown[0]["tiles"][0]["title"] == draw_examples()[0].text
    assert shown[0]["tiles"][0]["picture"].startswith("data:image/")
    assert config["analytics_enabled"] is False
    for private in config["dependencies"]:
        assert private["api_visibility"] == "private"


def test_a_whole_question(ask, upload):
    done = ask(*question(upload(png(60, 40)), "make it red\nremove it", score="shift", layer="network.features"))
    shown, said = done["data"]
    assert said == ""
    assert [one["title"] for one in shown["tiles"]] == ["make it red", "remove it"]
    assert shown["tiles"][0]["size"] == [60, 40]
    assert shown["data"]["asked"]["picture"] == "mine.png"


def test_with_a_target(ask, upload, tiny_folder):
    done = ask(
        *question(upload(png(60, 40)), target=upload(png(50, 40), "goal.png"), model=str(tiny_folder), words=False)
    )
    assert [one["title"] for one in done["data"][0]["tiles"]] == ["make it red", "make it red (on the target)"]
    assert done["data"][0]["data"]["asked"]["target"] == "goal.png"


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"hello", "notes.txt", "notes.txt is not an image of a known format"),
        (png(8, 8)[:40], "half.png", "half.png is truncated or damaged"),
        (png(500, 401), "large.png", "large.png is too large to decode: 500 x 401 pixels. Shrink it"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "x.svg", "x.svg is not an image"),
    ],
)  # fmt: skip
def test_bad_files_are_told_in_the_page(ask, upload, content, name, said):
    done = ask(*question(upload(content, name)))
    assert done["data"][0]["__type__"] == "update"
    assert "value" not in done["data"][0]
    assert alert(done).startswith(f'<p role="alert">{said}')
    assert alert(ask(*question(upload(png(8, 8))))) == ""  # the page stays usable


def test_an_example_is_chosen(ask):
    picture, text = ask("choose", event={"index": 1, "value": None})["data"]
    assert text == draw_examples()[1].text
    assert picture["path"].endswith(".png")
    assert Image.open(picture["path"]).convert("RGB").tobytes() == draw_examples()[1].image.tobytes()


def test_a_search_that_goes_on(ask, upload):
    session = uuid.uuid4().hex
    method = "network.visual.layer3", "similarity"
    shown, _, steps, said = ask("search", upload(png(60, 40)), "make it red", 3, None, *method, session=session)["data"]
    assert (said, len(shown["tiles"])) == ("", 4)
    assert [one["map_of"] for one in shown["data"]["hits"]] == ["similarity"] * 3
    assert "mine.png: <q>make it red</q>" in steps
    done = ask("go_on", None, session=session, event={"index": 2, "value": 2})["data"]
    assert done[0]["path"].endswith(".png")
    assert done[1]["value"] == ""
    assert "and now?" in done[2]
    shown, _, steps, said = ask("search", None, "and larger", 2, None, "", "", session=session)["data"]
    assert (said, len(shown["tiles"])) == ("", 3)
    assert steps.count("<li>") == 2
    picture, text, steps, shown, *_ = ask("go_back", None, 3, *method, session=session)["data"]
    assert shown["data"]["asked"]["layer"] == "network.visual.layer3"
    assert (text, steps.count("<li>"), len(shown["tiles"])) == ("make it red", 1, 4)
    assert Image.open(picture["path"]).size == (60, 40)
    assert "no search before" in alert(ask("go_back", None, 3, "", "", session=session))
    *_, steps = ask("begin", session=session)["data"]
    assert steps == ""
    assert "there is no hit 1" in alert(ask("go_on", None, session=session, event={"index": 0, "value": 1}))
    *_, steps = ask("choose_1", session=session, event={"index": 0, "value": None})["data"]
    assert steps == ""


def test_two_users_do_not_meet(ask, upload):
    one, two = uuid.uuid4().hex, uuid.uuid4().hex
    ask("search", upload(png(60, 40)), "make it red", 3, None, "", "", session=one)
    assert "there is no hit 1" in alert(ask("go_on", None, session=two, event={"index": 0, "value": 1}))
    assert alert(ask("go_on", None, session=one, event={"index": 0, "value": 1})) == ""


def test_no_file_outside_is_served(address, place, upload):
    package = Path(mmgrad_explain.__file__)
    own = Path(upload(png(8, 8))["path"])
    assert httpx.get(f"{address}gradio_api/file={own}").content == png(8, 8)
    paths = [
        "/etc/passwd", "etc/passwd", "secret.txt", "secret.png", str(place / "secret.txt"), str(place / "secret.png"),
        str(place / "mine.db"), str(place / "pictures" / "scene-3-a.png"),
        str(place / ".gradio" / "cached_examples" / "old.png"), ".gradio/cached_examples/old.png",
        str(package), str(package.parent / "weights" / "reference" / "config.json"),
        f"{own.parent}/../../../../etc/passwd", str(own.parent), str(Path(tempfile.gettempdir()) / "gradio"), "", "/",
    ]  # fmt: skip
    doors = [("GET", "gradio_api/file="), ("HEAD", "gradio_api/file="), ("GET", "gradio_api/file/"), ("GET", "static/")]
    doors += [("GET", "file="), ("GET", "assets/"), ("GET", "svelte/"), ("GET", "static/%2e%2e/")]
    with httpx.Client(base_url=address) as client:
        for path in paths:
            for shape in (
                path,
                path.replace("/", "%2F"),
                path.replace("/", "%252F"),
                path.replace(".", "%2e"),
                f"//{path}",
            ):
                for method, door in doors:
                    done = client.request(method, f"/{door}{shape}")
                    assert done.status_code in (400, 403, 404), (method, door, shape, done.status_code)


@pytest.mark.parametrize("path", ["/etc/passwd", "secret.png", "http://127.0.0.1:1/x.png", "https://example.org/x.png"])
def test_only_uploads_are_taken_as_pictures(ask, path):
    given = {"path": path, "orig_name": "x.png", "meta": {"_type": "gradio.FileData"}}
    for asked in (question(given), question(given, text=given), question(None, layer=given)):
        assert ask(*asked).status_code == 403
    assert ask("search", given, "make it red", 3, None, "", "").status_code == 403


def test_nothing_is_fetched_for_anybody(address, ask):
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.settimeout(0.5)
        url = f"http://127.0.0.1:{inside.getsockname()[1]}/x.png"
        for path in (f"gradio_api/file={url}", f"gradio_api/proxy={url}", f"gradio_api/file/{url}"):
            assert httpx.get(f"{address}{path}").status_code in (403, 404)
        assert ask(*question({"path": url, "meta": {"_type": "gradio.FileData"}})).status_code == 403
        given = {"path": None, "url": url, "meta": {"_type": "gradio.FileData"}}
        assert "there is no picture yet" in alert(ask(*question(given)))
        with pytest.raises(TimeoutError):
            inside.accept()


def test_large_files_are_refused(upload):
    assert upload(b"x" * 500_001).status_code == 413
    assert isinstance(upload(b"x" * 400_000), dict)


def test_other_doors_are_closed(address):
    for path in (
        "docs",
        "openapi.json",
        "gradio_api/openapi.json",
        "monitoring",
        "monitoring/summary",
        "gradio_api/deep_link",
    ):
        assert httpx.get(f"{address}{path}").status_code == 404
    for path in ("run/ask", "api/ask", "call/ask", "process_recording", "component_server", "vibe-edit"):
        assert httpx.post(f"{address}gradio_api/{path}", json={"data": []}).status_code == 404
    assert httpx.get(address, headers={"host": "example.org"}).status_code == 403


def test_other_sites_put_nothing_here(address):
    """Any page that one visits could, with a form or a script; what a proxy claims is not believed."""
    for headers in ({"origin": "https://example.org"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        for path, sent in (("upload", {"files": {"files": ("a.png", b"x")}}), ("queue/join", {"json": {"data": []}})):
            assert httpx.post(f"{address}gradio_api/{path}", headers=headers, **sent).status_code == 403
    page = httpx.get(address, headers={"x-forwarded-host": "example.org", "x-forwarded-proto": "https"})
    assert "example.org" not in page.text
    assert f"https://{address.partition('://')[2]}" not in page.text
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "DENY"


def test_questions_that_make_no_sense_are_one_line_each(address, ask, config, capfd, caplog):
    join = f"{address}gradio_api/queue/join"
    for body in ([], None, {}, {"data": 3}, {"data": [], "fn_index": 10**6, "session_hash": "s"}):
        assert 400 <= httpx.post(join, json=body).status_code < 500
    private = [one for one in config["dependencies"] if one["backend_fn"]]
    for one in private[:3]:
        assert "error" in ask(one["api_name"])
    told = capfd.readouterr().err + caplog.text
    assert "Traceback" not in told
    assert "a question that makes no sense was refused (ValueError)" in told


def test_a_full_queue_says_so(address, config, upload):
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "ask")
    data = list(question(upload(png(400, 400)), "make it red\nremove it"))[1:]

    def join(session):
        body = {"data": data, "fn_index": number, "session_hash": session}
        return httpx.post(f"{address}gradio_api/queue/join", json=body, timeout=60)

    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(join, [uuid.uuid4().hex for _ in range(16)]))
    refused = [one for one in said if one.status_code == 503]
    assert refused, [one.status_code for one in said]
    assert "Queue is full. Max size is 3" in refused[0].text


def test_its_folder_goes_away(tiny_folder, monkeypatch):
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "as it was")
    with running(Limits(), models=[str(tiny_folder)]) as found:
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        done = httpx.post(f"{found}gradio_api/upload", files={"files": ("a.png", png(8, 8))})
        assert Path(done.json()[0]).is_relative_to(folder)
        port = int(found.rstrip("/").rpartition(":")[2])
    assert not folder.exists()
    assert "GRADIO_TEMP_DIR" not in os.environ
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "as it was"
    assert find_port("127.0.0.1", port) == port


def test_ports_and_hosts():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is taken: name another with --port, or leave it out"):
            find_port("127.0.0.1", port)
    for port in (0, -1, 65536):
        with pytest.raises(InputError, match=f"port must be from 1 to 65535, got {port}"):
            find_port("127.0.0.1", port)
    for host in ("203.0.113.7", "no such host", ""):
        with pytest.raises(InputError, match=f"host {host!r} is no address of this machine"):
            find_port(host, None)
    first = find_port("127.0.0.1", None)
    with socket.create_server(("127.0.0.1", first)):
        assert find_port("127.0.0.1", None) > first


def test_no_port_is_left(monkeypatch):
    monkeypatch.setattr(serving, "PORTS", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(serving, "FIRST_PORT", taken.getsockname()[1])
        with pytest.raises(InputError, match="are all taken: name another with --port"):
            find_port("127.0.0.1", None)


def test_a_port_for_administrators(monkeypatch):
    class Closed(socket.socket):
        def bind(self, address):
            if address[1]:
                raise PermissionError

    monkeypatch.setattr(serving.socket, "socket", Closed)
    with pytest.raises(InputError, match="port 80 is not open to you: use one from 1024 on"):
        find_port("127.0.0.1", 80)


class Racing:
    """Blocks whose first tries find that another program was quicker."""

    def __init__(self, lost):
        self.lost, self.asked = lost, []

    def launch(self, *, server_port, quiet):
        assert quiet
        self.asked.append(server_port)
        if len(self.asked) <= self.lost:
            logging.getLogger("uvicorn.error").error(OSError(98, "address already in use"))  # as uvicorn does
            raise OSError("Cannot find empty port")
        return None, f"http://127.0.0.1:{server_port}/", None


def test_a_port_that_is_taken_in_between(caplog):
    blocks = Racing(lost=2)
    address = serving._launch(blocks, "127.0.0.1", None, quiet=True)
    assert len(blocks.asked) == 3
    assert address == f"http://127.0.0.1:{blocks.asked[-1]}/"
    said = r"^no server can be started on port \d+ \(Cannot find empty port\): name another with --port$"
    for lost, port, tries in ((99, None, 5), (1, find_port("127.0.0.1", None), 1)):
        blocks = Racing(lost)
        with pytest.raises(InputError, match=said):
            serving._launch(blocks, "127.0.0.1", port, quiet=True)
        assert len(blocks.asked) == tries
    assert caplog.messages == []
    logging.getLogger("uvicorn.error").error(OSError(98, "address already in use"))
    assert len(caplog.messages) == 1
