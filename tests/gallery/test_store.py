"""Rows in Milvus: local, on a server, used by another process, missing."""

import builtins
import json
import logging
import traceback

import numpy as np
import pytest
from milvus_lite.adapter.grpc.server import start_server_in_thread
from pymilvus import MilvusClient

from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.store import Entry, GalleryStore

ABOUT = {"dim": 4, "index": "flat", "name": "m"}


def entry(name, digest="d"):
    return Entry(name, 1, 2, digest)


def unit(*values):
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "mine.db")


@pytest.fixture(params=["local", "server"])
def address(request, place):
    """A local gallery, and a server that speaks Milvus's protocol."""
    if request.param == "local":
        yield place
        return
    server, db, port = start_server_in_thread(place)
    yield f"http://127.0.0.1:{port}"
    server.stop(grace=1)
    db.close()


def test_an_image_of_several_vectors_is_found_by_its_best(place):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(9, 3, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    names = [f"{number}.png" for number in range(9)]
    with GalleryStore(place, create=True) as store:
        store.make({**ABOUT, "vectors": 3})
        store.put([entry(name) for name in names], vectors)
        assert len(store) == len(store.rows()) == 9
        np.testing.assert_allclose(store.vectors(["4.png"])["4.png"], vectors[4])
        query = unit(1, 2, -1, 0.5)
        expected = (vectors @ query).max(1)
        for limit in (1, 4, 9):
            found = store.search(query, limit)
            assert [one.path for one, _ in found] == [names[i] for i in np.argsort(-expected)[:limit]]
            np.testing.assert_allclose([score for _, score in found], -np.sort(-expected)[:limit], atol=1e-6)
        store.remove(["4.png"])
        assert len(store) == 8
        assert store.vectors(["4.png"]) == {}


def test_rows(address):
    with GalleryStore(address, create=True) as store:
        assert store.about is None
        store.make(ABOUT)
        assert (store.rows(), len(store), store.vectors([])) == ({}, 0, {})
        store.put([entry("a"), entry("b '\"\\%é")], np.stack([unit(1, 0, 0, 0), unit(0, 1, 0, 0)]))
        store.put([entry("a", "new")], unit(1, 1, 0, 0)[None])
        assert store.rows() == {"a": entry("a", "new"), "b '\"\\%é": entry("b '\"\\%é")}
        np.testing.assert_allclose(store.vectors(["a"])["a"], unit(1, 1, 0, 0))
        found = store.search(unit(1, 0, 0, 0), 5)
        assert [one.path for one, _ in found] == ["a", "b '\"\\%é"]
        np.testing.assert_allclose([score for _, score in found], [0.5**0.5, 0], atol=1e-6)
    with GalleryStore(address) as store:
        assert store.about == ABOUT
        store.remove(["b '\"\\%é", "never there"])
        store.flush()
        assert list(store.rows()) == ["a"]
        assert len(store) == 1
        store.drop()
        assert store.about is None


def test_several_galleries_at_one_address(address):
    with GalleryStore(address, collection="one", create=True) as one:
        one.make(ABOUT)
        with GalleryStore(address, collection="two", create=True) as two:
            two.make({**ABOUT, "dim": 2, "index": "hnsw"})
            two.put([entry("a")], unit(1, 0)[None])
            assert two.search(unit(1, 0), 1) == [(entry("a"), 1.0)]
        assert len(one) == 0  # the other is closed, and this goes on
    with pytest.raises(InputError, match=r"there is no gallery at .* --collection three: make it first"):
        GalleryStore(address, collection="three")


def test_more_rows_than_go_in_one_call(place):
    names = [f"{i:05d}" for i in range(2500)]
    with GalleryStore(place, create=True) as store:
        store.make(ABOUT)
        store.put([entry(name) for name in names], np.tile(unit(1, 2, 3, 4), (2500, 1)))
        assert sorted(store.rows()) == names
        store.remove(names[:2400])
        assert sorted(store.rows()) == names[2400:]


def test_another_process_has_it(place, held_elsewhere):
    with (
        held_elsewhere(place),
        pytest.raises(InputError, match=r"mine\.db is in use by another process, and a local file serves one at a"),
    ):
        GalleryStore(place, create=True)
    # what it held is free again at once
    with GalleryStore(place, create=True):
        pass


def test_milvus_itself_prints_nothing(place, capfd):
    with GalleryStore(place, create=True) as store:
        store.make(ABOUT)
        store.rows()
        with pytest.raises(InputError, match=r"the gallery .*mine\.db cannot be used: .*"):
            store.put([entry("a")], unit(1, 0)[None])  # too short
    with pytest.raises(
        InputError, match=r"Milvus at http://127\.0\.0\.1:9 does not answer as it should: .*; is the add"
    ):
        GalleryStore("http://127.0.0.1:9")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("milvus_lite").propagate


@pytest.mark.parametrize(
    "address",
    ["http://me:hunter2@127.0.0.1:9", "http://me:hunter2@[::1", "me:hunter2@host", "https://h..x/?token=hunter2"],
)
def test_no_error_tells_a_secret(address):
    with pytest.raises(InputError) as caught:
        GalleryStore(address)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "***" in str(caught.value)


def test_other_collections_are_not_galleries(place, tmp_path):
    MilvusClient(place).create_collection("theirs", dimension=3)
    with pytest.raises(
        InputError, match=r"collection 'theirs' in .* is no gallery of this package: choose another name"
    ):
        GalleryStore(place, collection="theirs", create=True)
    with pytest.raises(InputError, match="collection 'a b': use letters, digits and _"):
        GalleryStore(place, collection="a b")
    (tmp_path / "file.db").touch()
    with pytest.raises(InputError, match=r"file\.db is no gallery: Milvus Lite keeps one in a folder of that name"):
        GalleryStore(str(tmp_path / "file.db"), create=True)
    with pytest.raises(InputError, match=r"gallery .*: the folder .*nowhere is not there; make it first"):
        GalleryStore(str(tmp_path / "nowhere" / "g.db"), create=True)


def test_stopped_while_it_was_made(place):
    with GalleryStore(place, create=True) as store:
        store.make(ABOUT)
        store.put([entry("a")], unit(1, 0, 0, 0)[None])
        store._client.release_collection(store.collection)
        store._client.drop_index(store.collection, "embedding")
    with GalleryStore(place) as store:
        assert store._client.list_indexes(store.collection)
        assert len(store.search(unit(1, 0, 0, 0), 1)) == 1


def test_a_gallery_of_before_is_read(place):
    """What is stored with a collection has a name that never changes: galleries on disk have it."""
    with GalleryStore(place, create=True) as store:
        store.make(ABOUT)
        properties = store._client.describe_collection(store.collection)["properties"]
        assert json.loads(properties["mmgrad_explain.gallery"]) == ABOUT


def test_without_milvus(place, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("pymilvus"):
            raise ImportError("No module named 'pymilvus'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r'cannot be imported .*: pip install "mmgrad-explain\[gallery\]"'):
        GalleryStore(place, create=True)
