"""Stand-ins: whole folders of small random models, and when one of them takes a hub model's place."""

import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mmgrad_explain import explain, load_composer
from mmgrad_explain.composers.stand_ins import build as stand_ins
from mmgrad_explain.composers.stand_ins.build import from_hub_or_stand_in, stand_in
from mmgrad_explain.errors import HubUnreachableError, InputError, MMGradWarning, OutputExistsError
from mmgrad_explain.notes import Note

TEXTS = ["a red dog on the sofa", "two blue bottles"]
CLIP = "openai/clip-vit-base-patch32"


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache of the hub's library, which must not look any further."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.fixture
def online(cache, monkeypatch):
    """Have the hub be elsewhere."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return lambda port: monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")


def in_cache(cache, hub_id, folder):
    """Lay a folder out as the hub's library keeps a downloaded model."""
    place = cache / f"models--{hub_id.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    return shutil.copytree(folder, place / "snapshots" / ("0" * 40))


# ----------------------------------------------------------------------------------------------------------- the folder


@pytest.mark.parametrize(
    ("kind", "grid", "score", "method"),
    [
        ("clip", (7, 7), "image-text", "relevancy"),
        ("siglip", (14, 14), "image-text", "relevancy"),
        ("blip", (24, 24), "match", "layercam"),
        ("llava", (24, 24), "answer", "layercam"),
    ],
)
def test_it_answers_like_the_real_one(kind, grid, score, method, composer, photo):
    found = explain([photo] * 2, TEXTS, model=composer, words=True)
    assert (found.maps.shape[1:], found.score_name, found.method) == (grid, score, method)
    assert (found.layer_names == (composer.target_layer,)) == (method == "layercam")
    maps = found.maps / found.maps.amax((1, 2), keepdim=True)
    assert (maps[0] - maps[1]).abs().mean() > 0.01  # another text, another map
    assert [word.text for word in found.words[1]][-2:] == ["blue", "bottles"]
    assert not found.notes


@pytest.mark.parametrize(
    ("wanted", "hint"), [("clipp", "did you mean 'clip'? "), ("CLIP", "did you mean 'clip'? "), ("99", "")]
)
def test_no_such_kind(wanted, hint, tmp_path):
    for call in (
        lambda: stand_in(wanted, tmp_path / "model"),
        lambda: from_hub_or_stand_in(CLIP, wanted),
    ):
        with pytest.raises(InputError) as caught:
            call()
        expected = f"kind: no stand-in of kind {wanted!r}: {hint}there are clip, siglip, blip, llava"
        assert str(caught.value) == expected
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("1")
    (tmp_path / "file").write_text("2")
    for name in ("model", "file"):
        with pytest.raises(OutputExistsError, match=rf"folder: .*{name} is there already: choose another one"):
            stand_in("clip", tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "mine", "model"]


def test_an_empty_folder_is_taken(tmp_path):
    assert load_composer(stand_in("clip", tmp_path)).name == tmp_path.name


def test_all_or_nothing(tmp_path, monkeypatch):
    def broken(_kind, folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stand_ins, "write_model_folder", broken)
    with pytest.raises(InputError, match=r"folder: .*model cannot be written \(No space left on device\)"):
        stand_in("clip", tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"folder: .*model cannot be written \(Not a directory|File exists"):
        stand_in("clip", tmp_path / "file" / "model")


# -------------------------------------------------------------------------------------------------------------- the hub


@pytest.mark.parametrize(
    ("hub_id", "given", "grid"),
    [
        (CLIP, None, (7, 7)),
        ("google/siglip2-base-patch16-224", None, (14, 14)),
        ("Salesforce/blip-itm-base-coco", None, (24, 24)),
        ("HuggingFaceTB/SmolVLM-256M-Instruct", "llava", (24, 24)),
        ("clip/my-siglip", "clip", (7, 7)),
    ],
)
def test_without_hub_a_stand_in_says_what_it_is(hub_id, given, grid, cache, photo):
    with pytest.warns(MMGradWarning, match=f"cannot be reached for '{hub_id}': a small model with random weights"):
        composer = from_hub_or_stand_in(hub_id, given)
    name = f"stand-in for {hub_id} (random weights: its maps mean nothing)"
    found = explain([photo], TEXTS[0], model=composer)
    assert (composer.name, found.model, found.maps.shape[1:]) == (name, name, grid)
    assert found.notes == (Note("caution", f"this is no trained model but a {name}"),)
    assert explain(photo, TEXTS, model=composer).notes == found.notes


@pytest.mark.parametrize("hub_id", ["Salesforce/blip2-itm-vit-g", "clip-makers/some-model", "openclip/ViT"])
def test_an_id_that_does_not_say_its_kind(hub_id, cache):
    with pytest.raises(InputError, match=r"cannot be reached .* the kind of a stand-in: give kind= \(clip, siglip, "):
        from_hub_or_stand_in(hub_id)


def test_a_model_in_the_cache_is_taken(cache, folders, photo):
    in_cache(cache, CLIP, folders["siglip"])  # told apart from a stand-in by its kind
    composer = from_hub_or_stand_in(CLIP)
    assert (composer.name, composer.caution, composer.family.title[:6]) == (CLIP, None, "SigLIP")
    assert explain(photo, TEXTS[0], model=composer).notes == ()


def test_a_model_in_the_cache_that_is_damaged(cache, folders):
    (in_cache(cache, CLIP, folders["clip"]) / "model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="damaged"):
        from_hub_or_stand_in(CLIP)


def test_a_hub_that_keeps_silent(online, monkeypatch, folders, cache):
    """A firewall takes the connection and says nothing: the hub's library would wait for ever."""
    monkeypatch.setattr(stand_ins, "HUB_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        online(server.getsockname()[1])
        with pytest.warns(MMGradWarning, match="stands in for it"):
            from_hub_or_stand_in(CLIP)
        in_cache(cache, CLIP, folders["siglip"])
        assert from_hub_or_stand_in(CLIP).name == CLIP


def test_a_hub_that_says_no(online):
    class No(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), No)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    online(server.server_port)
    try:
        with pytest.raises(InputError, match="the model hub does not give 'openai/clip-vit-none': 404") as caught:
            from_hub_or_stand_in("openai/clip-vit-none")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert not isinstance(caught.value, HubUnreachableError)


def test_a_hub_that_answers_is_asked_for_the_model(online, monkeypatch, folders):
    import huggingface_hub

    asked = []

    def download(_id, local_files_only, **_options):
        asked.append(local_files_only)
        return str(folders["clip"])

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert from_hub_or_stand_in(CLIP).caution is None
    assert asked == [False, False]  # the small files first


def test_an_id_that_is_none():
    with pytest.raises(InputError, match="cannot be fetched from the model hub"):
        from_hub_or_stand_in("some one/clip mo del")


def test_only_the_cache(online, folders, cache):
    with pytest.raises(HubUnreachableError, match=f"cannot be reached for '{CLIP}', and the model is not in the local"):
        load_composer(CLIP, local_files_only=True)
    in_cache(cache, CLIP, folders["clip"])
    assert load_composer(CLIP, local_files_only=True).name == CLIP
