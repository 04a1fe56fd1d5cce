"""Retrieving: the scores, the order, the maps, and which model a gallery belongs to."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.api import explain
from mmgrad_explain.composers.embedding import embed_images, embed_query, fingerprint, identify
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.errors import InputError
from mmgrad_explain.gallery import gallery as gallery_module
from mmgrad_explain.gallery.gallery import Gallery
from mmgrad_explain.gallery.store import GalleryStore
from mmgrad_explain.notes import Note


def test_the_order_is_that_of_an_exact_search(gallery, pictures, tiny):
    found = gallery.retrieve(pictures / "0.png", "make it red", k=10, keep_reference=True)
    names = [f"{i}.png" for i in range(7)]
    query, notices = embed_query(tiny, Image.open(pictures / "0.png").convert("RGB"), "make it red")
    scores = torch.stack([embed_images(tiny, [Image.open(pictures / name)])[0] for name in names]) @ query
    expected = scores.sort(descending=True)
    assert [hit.path for hit in found.hits] == [str(pictures / names[i]) for i in expected.indices]
    assert [hit.rank for hit in found.hits] == list(range(1, 8))
    torch.testing.assert_close(torch.tensor([h.score for h in found.hits]), expected.values, atol=1e-5, rtol=0)
    copies = {hit.path: hit.copies for hit in found.hits if hit.copies}
    assert copies == {str(pictures / "2.png"): (str(pictures / "copy of 2.png"),)}
    assert not notices
    assert found.notes == (Note("few-hits", "the gallery has no more than 7 images to list"),)
    best = gallery.retrieve(pictures / "0.png", "make it red", k=3, keep_reference=True)
    assert best.hits == found.hits[:3]
    assert not best.notes


def test_the_reference_is_left_out_by_its_content(gallery, pictures):
    whole = gallery.retrieve(pictures / "2.png", "make it red", keep_reference=True)
    for image in (pictures / "2.png", str(pictures / "copy of 2.png"), (pictures / "2.png").read_bytes()):
        found = gallery.retrieve(image, "make it red")
        assert len(found.hits) == 6
        assert str(pictures / "2.png") not in [hit.path for hit in found.hits]
    assert gallery.retrieve(Image.open(pictures / "2.png"), "make it red").hits == whole.hits


def test_each_hit_has_the_map_of_its_own_similarity(gallery, pictures, tiny):
    found = gallery.retrieve(pictures / "0.png", "make it red", k=4)
    maps = gallery.explain(found, score="similarity")
    assert set(maps.hits) == {1, 2, 3, 4}
    for hit in found.hits:
        alone = explain(pictures / "0.png", "make it red", hit.path, tiny, score="similarity")
        explanation, index = maps.hits[hit.rank]
        np.testing.assert_allclose(maps.heatmap(hit.rank), alone.heatmap(target=True), atol=1e-4)
        assert float(explanation.score[index]) == pytest.approx(hit.score, abs=1e-5)
        width, height = Image.open(hit.path).size
        assert maps.heatmap(hit.rank).shape == (height, width)
    own = explain(pictures / "0.png", "make it red", model=tiny)
    np.testing.assert_allclose(maps.query.heatmap(), own.heatmap(), atol=1e-5)
    assert set(found.notes) <= set(maps.notes)
    assert len(maps.notes) == len(set(maps.notes))


def test_hits_have_maps_of_the_models_own_score(gallery, pictures, tiny):
    found = gallery.retrieve(pictures / "0.png", "make it red", k=2)
    for options in ({}, {"score": "shift"}):
        maps = gallery.explain(found, **options)
        for hit in found.hits:
            alone = explain(pictures / "0.png", "make it red", hit.path, tiny, score="shift")
            assert maps.hits[hit.rank][0].score_name == "shift"
            np.testing.assert_allclose(maps.heatmap(hit.rank), alone.heatmap(target=True), atol=1e-4)
    assert "where: shift" in maps._repr_html_()
    with pytest.raises(InputError, match="score: there is no 'nonsense'"):
        gallery.explain(found, score="nonsense")


@pytest.mark.parametrize(("keeps_shapes", "together"), [(False, [2, 1]), (True, [1, 1, 1])])
def test_hits_are_explained_one_by_one_where_the_model_keeps_shapes(
    gallery, pictures, monkeypatch, keeps_shapes, together
):
    found = gallery.retrieve(pictures / "0.png", "make it red", k=3)
    expected = gallery.explain(found)
    counts = []

    def counted(image, text, *target, **options):
        counts.extend(len(paths) for paths in target[:1])
        return explain(image, text, *target, **options)

    monkeypatch.setattr(gallery_module, "explain", counted)
    monkeypatch.setattr(gallery_module, "_CHUNK", 2)
    monkeypatch.setattr(gallery.composer.processor, "keeps_shapes", keeps_shapes, raising=False)
    maps = gallery.explain(found)
    assert counts == together
    for rank in (1, 2, 3):
        np.testing.assert_allclose(maps.heatmap(rank), expected.heatmap(rank), atol=1e-4)


def test_files_that_are_gone_or_have_changed(tmp_path, tiny_folder, pictures):
    shutil.copytree(pictures, tmp_path / "p")
    with Gallery(tmp_path / "g.db", tiny_folder, create=True) as gallery:
        gallery.index([tmp_path / "p"])
        (tmp_path / "p" / "1.png").unlink()
        (tmp_path / "p" / "3.png").write_bytes((tmp_path / "p" / "4.png").read_bytes() + b"\0")
        (tmp_path / "p" / "2.png").unlink()  # its copy is still there
        found = gallery.retrieve(pictures / "0.png", "make it red")
        states = {hit.path.rpartition("/")[2]: hit.state for hit in found.hits}
        assert states["1.png"] == "gone"
        assert states["3.png"] == "changed"
        assert states["copy of 2.png"] == "there"
        assert sorted(states.values()) == ["changed", "gone", *["there"] * 4]
        assert found.notes[-1].text == (
            "of the hits, 1 are gone and 1 have changed since they were indexed: index their folders again"
        )
        maps = gallery.explain(found)
        assert len(maps.hits) == 4
        maps.sheet(height=60)


class Rows:
    """A store that holds these digests with these scores."""

    def __init__(self, rows):
        self.rows = rows
        self.asked = []

    def __len__(self):
        return len(self.rows)

    def search(self, vector, limit):
        from mmgrad_explain.gallery.store import Entry

        self.asked.append(limit)
        best = sorted(self.rows, key=lambda row: -row[2])[:limit]
        return [(Entry(path, 0, 0, digest), score) for path, digest, score in best]


def search(rows, k, without=None):
    gallery = object.__new__(Gallery)
    gallery._store, gallery.about = Rows(rows), {}
    found = gallery._search(np.zeros(2, np.float32), k, without)
    return [(hit.path, hit.score) for hit in found], gallery._store.asked


def test_ties_are_sorted_by_path_beyond_the_first_request():
    rows = [(f"p{i:02d}", f"d{i}", 0.5) for i in reversed(range(20))] + [("best", "b", 0.9)]
    found, asked = search(rows, 3)
    assert found == [("best", 0.9), ("p00", 0.5), ("p01", 0.5)]
    assert asked == [7, 14, 21]


def test_many_copies_do_not_crowd_out_the_others():
    rows = [(f"c{i:02d}", "same", 0.9) for i in range(30)] + [("x", "x", 0.8), ("y", "y", 0.7), ("z", "z", 0.6)]
    assert search(rows, 2)[0] == [("c00", 0.9), ("x", 0.8)]
    assert search(rows, 2, without="same")[0] == [("x", 0.8), ("y", 0.7)]
    assert search(rows, 2, without="same")[1] == [5, 10, 20, 33]
    assert search([], 2) == ([], [])


def test_wrong_questions(gallery, pictures):
    with pytest.raises(InputError, match="k must be from 1 to 16384, got 0"):
        gallery.retrieve(pictures / "0.png", "make it red", k=0)
    with pytest.raises(InputError, match="text is empty"):
        gallery.retrieve(pictures / "0.png", "  ")
    with pytest.raises(InputError, match="no such file"):
        gallery.retrieve(pictures / "nothing.png", "make it red")


def test_a_gallery_belongs_to_its_model(made, tiny_folder, tmp_path, tiny):
    other = shutil.copytree(tiny_folder, tmp_path / "other")
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] += 1e-3  # one number of one weight
    save_file(weights, other / "model.safetensors")
    mine, its = fingerprint(tiny), fingerprint(load_composer(other))
    message = (
        rf"gallery {made} was made with model '{tiny_folder.name}' \({mine}, 8 numbers an image\), and this is "
        rf"'other' \({its}, 8 numbers an image\): use that model \({tiny_folder}\), or index into another gallery"
    )
    for create in (False, True):
        with pytest.raises(InputError, match=message):
            Gallery(made, other, create=create)
    with Gallery(made, shutil.copytree(tiny_folder, tmp_path / "moved")) as gallery:  # the same by another name
        assert len(gallery) == 8


def test_the_stored_description_of_the_model(gallery, tiny_folder, tiny):
    identity = identify(tiny)
    assert gallery.about == {
        "name": tiny_folder.name, "fingerprint": identity.fingerprint, "dim": 8, "layer": "network.features",
        "score": "shift", "source": str(tiny_folder), "index": "flat", "vectors": 1,
        "model_choice": None,
    }  # fmt: skip
    assert json.dumps(gallery.about)


def test_a_fingerprint_is_of_weights_and_preprocessing(tiny_folder, tiny):
    again = load_composer(tiny_folder)
    assert fingerprint(tiny) == fingerprint(again)
    again.name = "another"
    assert fingerprint(tiny) == fingerprint(again)
    again.processor.image_size = 64
    assert fingerprint(tiny) != fingerprint(again)


@pytest.mark.parametrize(("name", "known"), [("reference", "3cce2e4e27076184"), ("clothing", "d2ce7a20f81083dd")])
def test_galleries_of_before_know_the_bundled_models(name, known):
    """A class or a setting by another name would have every gallery on disk refused; only new weights may."""
    assert fingerprint(load_composer(name)) == known


def test_a_model_in_memory(tmp_path, tiny, pictures):
    with Gallery(tmp_path / "g.db", tiny, create=True, device="cpu") as gallery:
        assert gallery.about["source"] is None
        gallery.index([pictures])
    with Gallery(tmp_path / "g.db", tiny) as gallery:
        assert gallery.retrieve(pictures / "0.png", "make it red", k=1).hits
    with pytest.raises(InputError, match=r"with a model in memory .*: pass it again, or give the folder"):
        Gallery(tmp_path / "g.db")


@pytest.mark.filterwarnings("ignore:the map is empty")  # the images are noise
def test_a_bundled_model(tmp_path, pictures):
    with Gallery(tmp_path / "g.db", "clothing", create=True) as gallery:
        gallery.index([pictures])
        assert (gallery.about["source"], gallery.about["model_choice"]) == ("clothing", None)
    with Gallery(tmp_path / "g.db") as gallery:
        assert gallery.composer.name == "clothing"
        assert len(gallery.explain(gallery.retrieve(pictures / "1.png", "make the dress red", k=2)).hits) == 2


def test_the_first_images_choose_the_model_of_a_new_gallery(tmp_path):
    for number, scene in enumerate(scenes(23, 4)):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(scene.reference).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "half.png").write_bytes(b"nothing")
    with Gallery(tmp_path / "g.db", create=True) as gallery:
        assert len(gallery) == 0
        with pytest.raises(
            InputError, match=r"g\.db is new and empty: index folders, .* or name a model \(reference, "
        ):
            gallery.retrieve(tmp_path / "photos" / "0.png", "make it red")
        assert gallery.index([tmp_path / "photos"]).added == 4
        assert (gallery.about["source"], gallery.composer.name) == ("reference", "reference")
        said = "the images are like its training images, of 4 looked at"
        assert gallery.about["model_choice"] == said
    with Gallery(tmp_path / "g.db", create=True) as gallery:
        assert gallery.about["model_choice"] == said
        assert gallery.index([tmp_path / "photos"]).unchanged == 4


def test_images_that_no_bundled_model_knows_choose_none(tmp_path, pictures):
    with (
        Gallery(tmp_path / "g.db", create=True) as gallery,
        pytest.raises(
            InputError,
            match=r"of 8 looked at, 0 like those of reference, 0 like those of clothing, .* everyday\): name",
        ),
    ):
        gallery.index([pictures])
    assert not (tmp_path / "g.db").exists()


def test_a_text_of_which_no_content_word_is_known_is_refused(gallery, pictures):
    with pytest.raises(InputError, match=r"knows none of the words that say what is meant \('zeppelin'\): .* hub id"):
        gallery.retrieve(pictures / "0.png", "remove the zeppelin")
    assert gallery.retrieve(pictures / "0.png", "make the zeppelin red").hits


def test_an_approximate_index(tmp_path, pictures, tiny_folder, gallery):
    with Gallery(tmp_path / "g.db", tiny_folder, create=True, index="hnsw") as other:
        other.index([pictures])
        found = other.retrieve(pictures / "0.png", "make it red")
        expected = gallery.retrieve(pictures / "0.png", "make it red").hits
        assert [hit.path for hit in found.hits] == [hit.path for hit in expected]
    with pytest.raises(InputError, match="index 'tree': there are flat and hnsw"):
        Gallery(tmp_path / "h.db", tiny_folder, create=True, index="tree")


def test_a_failed_start_makes_no_gallery_and_locks_none(tmp_path, tiny_folder):
    with pytest.raises(InputError, match="no model 'nothing'"):
        Gallery(tmp_path / "g.db", "nothing", create=True)
    assert not (tmp_path / "g.db").exists()
    with pytest.raises(InputError, match=r"there is no gallery at .*g\.db: make it first, mmgrad-explain index FOLDER"):
        Gallery(tmp_path / "g.db")
    with Gallery(tmp_path / "g.db", tiny_folder, create=True) as gallery:
        assert len(gallery) == 0
        with pytest.raises(InputError, match="device 'tpu9' is unknown"):
            Gallery(tmp_path / "g.db", tiny_folder, device="tpu9")
    with GalleryStore(str(tmp_path / "g.db")) as store:
        assert store.about["dim"] == 8
