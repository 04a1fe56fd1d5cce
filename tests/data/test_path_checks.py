"""No path that a data file gives leads out of the folder that it is relative to."""

import json

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.data.instances.readers import read_coco
from mmgrad_explain.data.path_checks import leaves_folder
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.errors import InputError


@pytest.fixture
def set_folder(tmp_path):
    """A folder beside which lies an image that is nobody's business."""
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    return folder


def outside(folder, way):
    return {"absolute": str(folder.parent / "secret.png"), "up": "../secret.png", "down and up": "b/../../secret.png"}[
        way
    ]


WAYS = pytest.mark.parametrize("way", ["absolute", "up", "down and up"])


def test_what_leads_out():
    assert [name for name in ("/a", "..", "../a", "a/../b", "a/..") if not leaves_folder(name)] == []
    assert [name for name in ("a", "a/b..c/..d", "./a", "...") if leaves_folder(name)] == []


@WAYS
@pytest.mark.parametrize("panoptic", [False, True])
def test_coco(set_folder, way, panoptic):
    name = outside(set_folder, way)
    box = {"segmentation": [[0, 0, 8, 0, 8, 8]], "category_id": 0}
    labels = [{"id": i, "image_id": i, **box} for i in range(2)]
    if panoptic:
        (set_folder.parent / "segments").mkdir()
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[..., 0] = 7
        for place in ("segments/a.png", "secret.png"):
            Image.fromarray(pixels).save(set_folder.parent / place)
        segments = [{"id": 7, "category_id": 0}]
        labels = [
            {"image_id": 0, "file_name": "a.png", "segments_info": segments},
            {"image_id": 1, "file_name": name, "segments_info": segments},
        ]
    images = [{"id": 0, "file_name": "a.png"}, {"id": 1, "file_name": "a.png" if panoptic else name}]
    data = {"images": images, "annotations": labels, "categories": [{"id": 0, "name": "dog"}]}
    file = set_folder.parent / "segments.json"
    file.write_text(json.dumps(data))
    found = read_coco(set_folder, file)
    assert [photo.name for photo in found.photos] == ["a.png"]
    what = "panoptic image outside of its folder" if panoptic else "photograph outside of the folder"
    assert found.problems[what] == [name]
    if not panoptic:
        file.write_text(json.dumps({**data, "images": images[1:]}))
        with pytest.raises(InputError, match=r"none of the photographs of .* \(the first: .*secret.png\)"):
            read_coco(set_folder, file)


@WAYS
@pytest.mark.parametrize("key", ["reference", "target", "mask", "target_mask"])
def test_triplets(set_folder, way, key):
    name = outside(set_folder, way)
    record = {**dict.fromkeys(("id", "reference", "text", "target", "mask", "class", "edit"), "a.png"), key: name}
    (set_folder / "triplets.jsonl").write_text(json.dumps(record))
    with pytest.raises(
        InputError, match=f"line 1: triplet a.png: the {key} '.*secret.png' leads out of the set's folder"
    ):
        read_triplets(set_folder)


def said(found):
    return [(one.level, one.where, one.first) for one in found.findings if "leads out" in one.what]


@WAYS
def test_triplets_of_ones_own(set_folder, way):
    name = outside(set_folder, way)
    record = {"reference": "a.png", "text": "make it red", "target": name}
    (set_folder / "triplets.jsonl").write_text(json.dumps(record))
    found = read_cir("jsonl", set_folder)
    assert [one[:2] for one in said(found)] == [("needed", "all")]
    assert not found.complete
    with pytest.raises(InputError, match="is missing"):
        found.images.path(name)


@WAYS
def test_benchmarks(cirr, fashioniq, circo, lasco, change, way):  # they share a folder
    name = outside(cirr, way)
    (cirr.parent / "secret.png").write_text("picture")
    splits = "image_splits/split.rc2.val.json"
    change(cirr / splits, lambda names: {**names, "dev-3-0-img0": name})
    change(cirr / "image_splits" / "split.dress.val.json", lambda names: [*names, name.removesuffix(".png")])
    listing = cirr / "COCO2017_unlabeled" / "annotations" / "image_info_unlabeled2017.json"
    change(listing, lambda data: {"images": [*data["images"], {"id": 99, "file_name": name}]})
    change(cirr / "downloads" / "lasco_val_corpus.json", lambda names: [*names, {"id": 99, "path": name}])
    parts = {"cirr": "val", "fashioniq": "dress.val", "circo": "val", "lasco": "val"}
    if way == "absolute":
        del parts["lasco"]  # the last two parts of its paths are looked for as well, below the folder
    for kind, part in parts.items():
        found = read_cir(kind, cirr, ["val"])
        (finding,) = said(found)
        assert finding[:2] == ("needed", part)
        assert len(found.images.missing) == 1


def test_links_lead_where_they_lead(set_folder):
    (set_folder / "link.png").symlink_to(set_folder.parent / "secret.png")
    (set_folder / "triplets.jsonl").write_text(json.dumps({"reference": "a.png", "text": "x", "target": "link.png"}))
    assert read_cir("jsonl", set_folder).findings == ()
