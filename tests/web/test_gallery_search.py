"""Searches of several steps, in the example gallery and in a gallery of one's own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmgrad_explain.composers.stand_ins.build import stand_in
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery.gallery import Gallery
from mmgrad_explain.gallery.results import Hit
from mmgrad_explain.web.examples import draw_examples, write_example_images
from mmgrad_explain.web.gallery_search import NEXT, GallerySearch
from mmgrad_explain.web.limits import Limits
from mmgrad_explain.web.models import Models
from mmgrad_explain.web.search_history import SearchHistory


@pytest.fixture(scope="module")
def models():
    return Models()


@pytest.fixture(scope="module")
def searches(models):
    with GallerySearch(models, pixels=Limits().pixels) as made:
        yield made


@pytest.fixture
def content(tmp_path):
    draw_examples()[0].image.save(tmp_path / "example.png")
    return (tmp_path / "example.png").read_bytes()


def test_the_example_gallery(searches, content):
    walk, shown = searches.search(SearchHistory(), draw_examples()[0].text, 3, content=content, name="example picture")
    first, *hits = shown["tiles"]
    assert first["title"] == "You asked: take away the triangle"
    assert hits[0]["title"] == "1. scene-3-c.png"  # the scene without its triangle
    assert [one["action"] for one in hits] == [{"label": NEXT, "value": rank} for rank in (1, 2, 3)]
    data = json.loads(json.dumps(shown["data"], allow_nan=False))
    assert [one["rank"] for one in data["hits"]] == [1, 2, 3]
    assert data["hits"][0]["score"] > data["hits"][1]["score"]
    assert np.asarray(data["hits"][0]["grid"]).ndim == 2
    assert data["asked"]["gallery"] is None
    assert walk.steps[0].name == "example picture"
    assert str(Path(walk.steps[0].hits[0].path).parent) not in json.dumps(shown)  # no folder is told
    assert searches.read_reference(walk.steps[0]).tobytes() == draw_examples()[0].image.tobytes()


@pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # at that layer the query's map is empty
def test_layer_and_score_of_the_maps(searches, content, tmp_path, monkeypatch, same):
    def hits(**chosen):
        return searches.search(
            SearchHistory(), draw_examples()[1].text, 2, content=content, name="example picture", **chosen
        )[1]

    own = hits()
    assert [one["caption"].partition("; ")[2] for one in own["tiles"][1:]] == ["map of shift"] * 2
    assert own["tiles"][0]["caption"] is None
    assert [one["map_of"] for one in own["data"]["hits"]] == ["shift"] * 2
    other = hits(layer="network.visual.layer3", score="similarity")
    assert [one["map_of"] for one in other["data"]["hits"]] == ["similarity"] * 2
    assert np.shape(other["data"]["hits"][0]["grid"]) == (6, 6)
    assert other["data"]["asked"]["layer"] == "network.visual.layer3"
    assert other["data"]["asked"]["score"] == "similarity"
    same(*run(other, tmp_path, monkeypatch), other)
    for chosen in ({"layer": "network.none"}, {"score": "nonsense"}):
        with pytest.raises(InputError, match=next(iter(chosen.values()))):
            hits(**chosen)


def test_what_can_be_asked(models, searches, own):
    assert searches.abilities() is models.abilities("reference")
    with GallerySearch(models, own, pixels=Limits().pixels) as others:
        found = others.abilities()
    assert dict(found.layers)["network.features"] == (8, 8)
    assert found.target_scores == ("similarity", "pair", "pair-different")


def test_two_towers_show_their_own_score(tmp_path, models, content):
    write_example_images(tmp_path / "pictures")
    with Gallery(tmp_path / "towers.db", stand_in("clip", tmp_path / "clip"), create=True) as gallery:
        gallery.index([tmp_path / "pictures"])
    with GallerySearch(models, str(tmp_path / "towers.db"), pixels=Limits().pixels) as searches:
        _, shown = searches.search(SearchHistory(), "a red ring", 2, content=content, name="mine.png")
    assert [one["map_of"] for one in shown["data"]["hits"]] == ["image-text"] * 2
    assert any(np.ptp(one["grid"]) > 0 for one in shown["data"]["hits"])


def test_on_from_a_hit_and_back(searches, content):
    walk, _ = searches.search(SearchHistory(), "take away the triangle", 3, content=content, name="mine.png")
    found = walk.find_hit(2)
    assert searches.read_hit(found).size == (320, 320)
    on, shown = searches.search(replace(walk, chosen=found), "remove the square", 4)
    assert [turn.text for turn in on.steps] == ["take away the triangle", "remove the square"]
    assert on.steps[1].name == Path(found.path).name
    assert found.path not in [one.path for one in on.steps[1].hits]
    assert len(shown["tiles"]) == 5
    other, _ = searches.search(on, "add a star", 4)
    assert [turn.text for turn in other.steps] == ["take away the triangle", "add a star"]
    assert other.steps[1].reference == found
    again = searches.repeat(on, 4)
    assert again["data"]["hits"] == shown["data"]["hits"]
    assert searches.read_reference(on.steps[1]).tobytes() == searches.read_hit(found).tobytes()
    back = searches.repeat(on.go_back(), 3)
    assert back["data"]["asked"]["turns"] == [{"picture": "mine.png", "hit": None, "text": "take away the triangle"}]


def run(shown, folder, monkeypatch):
    monkeypatch.chdir(folder)
    space = {}
    exec(compile(shown["snippet"], "snippet.py", "exec"), space)
    assert (folder / "hits.png").is_file()
    return space["found"], space["maps"]


@pytest.fixture
def same(same_maps):
    def check(found, maps, shown):
        hits = shown["data"]["hits"]
        assert [Path(one.path).name for one in found.hits] == [one["file"] for one in hits]
        np.testing.assert_allclose([one.score for one in found.hits], [one["score"] for one in hits], atol=1e-6)
        for one in hits:
            explanation, index = maps.hits[one["rank"]]
            same_maps(explanation.calls[1][index : index + 1], [one["grid"]])

    return check


def test_the_code_walks_the_same_way(searches, content, tmp_path, monkeypatch, same):
    walk, _ = searches.search(SearchHistory(), "take away the triangle", 3, content=content, name="example picture")
    _, shown = searches.search(replace(walk, chosen=walk.find_hit(2)), "remove the square", 3)
    assert "example picture" not in shown["snippet"]
    same(*run(shown, tmp_path, monkeypatch), shown)


@pytest.fixture
def own(tmp_path, tiny_folder):
    write_example_images(tmp_path / "pictures")
    with Gallery(tmp_path / "mine.db", tiny_folder, create=True) as gallery:
        gallery.index([tmp_path / "pictures"])
    return str(tmp_path / "mine.db")


def test_a_gallery_of_ones_own(own, models, picture, picture_file, tmp_path, monkeypatch):
    with GallerySearch(models, own, pixels=Limits().pixels) as searches:
        assert searches.gallery() is searches.gallery()
        walk, shown = searches.search(
            SearchHistory(), "make it red", 2, content=picture_file.read_bytes(), name="query.png"
        )
        assert shown["data"]["asked"]["gallery"] == "mine.db"
        gone = walk.find_hit(1)
        Path(gone.path).unlink()
        with pytest.raises(InputError, match="hit 1 cannot be read any more: index its folder again"):
            searches.read_hit(gone)
        later, shown = searches.search(
            SearchHistory(), "make it red", 2, content=picture_file.read_bytes(), name="query.png"
        )
        assert [one["state"] for one in shown["data"]["hits"]] == ["gone", "there"]
        assert len(shown["tiles"]) == 2
        assert any("are gone" in note for note in shown["data"]["notes"])
        assert any("are gone" in note for note in shown["tiles"][0]["notes"])
    same_file = picture_file.parent / "query.png"
    assert same_file == tmp_path / "query.png"
    found, _ = run(shown, tmp_path, monkeypatch)
    assert [one.path for one in found.hits] == [one.path for one in later.steps[0].hits]


def test_a_picture_in_the_gallery_is_not_its_own_hit(own, models, tmp_path):
    file = tmp_path / "pictures" / "scene-3-a.png"
    with GallerySearch(models, own, pixels=Limits().pixels) as searches:
        walk, _ = searches.search(SearchHistory(), "make it red", 12, content=file.read_bytes(), name="x.png")
    assert str(file) not in [one.path for one in walk.steps[0].hits]


def test_a_device(own, tiny_folder):
    with GallerySearch(Models(device="cpu"), own, pixels=100) as searches:
        assert len(searches.gallery()) == 20
        with pytest.raises(InputError, match="hit 1 cannot be read any more"):
            searches.read_hit(Hit(1, str(Path(own).parent / "pictures" / "scene-3-a.png"), 0.5, "ab", state="there"))


def test_no_gallery(models, tmp_path):
    with (
        GallerySearch(models, str(tmp_path / "none.db"), pixels=1) as searches,
        pytest.raises(InputError, match="no gallery at"),
    ):
        searches.gallery()


def test_addresses_are_shown_without_secrets(models):
    assert GallerySearch(models, "http://me:secret@host:19530", pixels=1)._shown_address() == "http://host:19530"
    assert GallerySearch(models, "http://host:19530/@x", pixels=1)._shown_address() == "http://host:19530/@x"
    assert GallerySearch(models, "/home/me/mine.db", pixels=1)._shown_address() == "mine.db"
