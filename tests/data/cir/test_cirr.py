"""CIRR: its layouts, and what can be wrong with it."""

import shutil

import pytest

from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.errors import InputError


def test_cirr(cirr):
    found = read_cir("cirr", cirr)
    assert found.findings == ()
    assert found.complete
    assert {part: len(queries) for part, queries in found.queries.items()} == {"train": 2, "val": 2, "test1": 2}
    query = found.queries["val"][0]
    assert (query.id, query.reference, query.text) == ("10", "dev-0-0-img0", "show three bottles")
    assert (query.target, query.relevant) == ("dev-2-0-img0", ("dev-2-0-img0",))
    assert query.group == tuple(f"dev-{i}-0-img0" for i in range(6))
    assert query.soft == {"dev-2-0-img0": 1.0, "dev-3-0-img0": -1.0}
    assert len(found.images.galleries["val"]) == 8
    assert found.images.path("dev-7-0-img0") == cirr / "img_raw" / "dev" / "dev-7-0-img0.png"
    assert found.images.path("train-7-0-img0") == cirr / "img_raw" / "train" / "34" / "train-7-0-img0.png"
    hidden = found.queries["test1"][0]
    assert (hidden.target, hidden.relevant, hidden.soft, len(hidden.group)) == (None, (), {}, 6)
    assert found.summarize()["parts"]["val"] == {
        "queries": 2, "with target": 2, "gallery": 8, "references and targets": 3, "groups": 1,
    }  # fmt: skip


@pytest.mark.parametrize("layout", ["cirr/ beside the images", "img_raw/ in cirr/", "flat train/", "jpg"])
def test_layouts_of_cirr(cirr, layout):
    if layout == "cirr/ beside the images":  # as CLIP4Cir, SEARLE and SPRC have it
        (cirr / "cirr").mkdir()
        for name in ("captions", "image_splits"):
            shutil.move(cirr / name, cirr / "cirr")
        for name in ("train", "dev", "test1"):
            shutil.move(cirr / "img_raw" / name, cirr)
    elif layout == "img_raw/ in cirr/":
        (cirr / "cirr").mkdir()
        for name in ("captions", "image_splits", "img_raw"):
            shutil.move(cirr / name, cirr / "cirr")
    elif layout == "flat train/":
        for path in (cirr / "img_raw" / "train" / "34").iterdir():
            shutil.move(path, cirr / "img_raw" / "train")
    else:
        for path in list((cirr / "img_raw").rglob("*.png")):
            path.rename(path.with_suffix(".JPG"))
    found = read_cir("cirr", cirr)
    assert found.findings == ()
    for image in found.images.paths:
        assert found.images.path(image).is_file()


def test_oddities_of_cirr(cirr, change, said):
    def odd(entries):
        entries[0]["caption"] = "two  bottles "
        entries[1]["caption"] = " "
        entries[0]["target_soft"] = {entries[0]["reference"]: 1.0, "dev-7-0-img0": 0.5}

    change(cirr / "captions" / "cap.rc2.val.json", odd)
    change(cirr / "captions" / "cap.rc2.test1.json", lambda entries: [*entries, {**entries[0], "pairid": 12}])
    found = read_cir("cirr", cirr)
    assert found.complete
    assert said(found) == [
        ("val", 1, "query without a word", "11"),
        ("val", 1, "caption with blanks at its ends", "10"),
        ("val", 1, "caption with several blanks in a row", "10"),
        ("val", 1, "query whose hard target is not a full soft target", "10"),
        ("val", 1, "query whose reference is a soft target", "10"),
        ("val", 1, "query with soft targets outside its group", "10"),
        ("test1", 2, "query that says the same as another", "10", "12"),
    ]
    assert [query.text for query in found.queries["val"]] == ["two bottles", ""]


def test_a_list_that_is_too_short(cirr, change, said):
    def shorten(files):  # only what occurs as a reference, as some galleries are built
        return {name: path for name, path in files.items() if name.startswith(("dev-0", "dev-1"))}

    change(cirr / "image_splits" / "split.rc2.val.json", shorten)
    found = read_cir("cirr", cirr)
    assert not found.complete
    outside = [f"dev-{i}-0-img0 of 10" for i in range(2, 6)]
    assert said(found) == [
        ("val", 8, "member of a group that is not in the gallery", *outside, "dev-2-0-img0 of 11"),
        ("val", 1, "target that is not in the gallery", "dev-2-0-img0 of 10"),
    ]
    change(cirr / "image_splits" / "split.rc2.val.json", lambda files: {"dev-1-0-img0": files["dev-1-0-img0"]})
    assert said(read_cir("cirr", cirr))[0] == (
        "val",
        1,
        "reference that no list of images names",
        "dev-0-0-img0 of 10",
    )


def test_groups_without_the_query(cirr, change, said):
    def move(entries):
        entries[0]["reference"] = entries[1]["target_hard"] = "dev-6-0-img0"
        entries[1]["target_soft"] = {"dev-6-0-img0": 1}

    change(cirr / "captions" / "cap.rc2.val.json", move)
    assert said(read_cir("cirr", cirr))[:2] == [
        ("val", 1, "query whose target is not in its group", "11"),
        ("val", 1, "query whose reference is not in its group", "10"),
    ]


def test_missing_and_empty_pictures(cirr, said):
    (cirr / "img_raw" / "dev" / "dev-7-0-img0.png").unlink()
    (cirr / "img_raw" / "dev" / "dev-6-0-img0.png").write_text("")
    (cirr / "img_raw" / "train" / "34" / "train-0-0-img0.png").unlink()
    found = read_cir("cirr", cirr)
    what = "image missing or empty (of 8)"
    assert said(found) == [
        ("val", 2, what, "img_raw/dev/dev-6-0-img0.png", "img_raw/dev/dev-7-0-img0.png"),
        ("train", 1, what, "img_raw/train/34/train-0-0-img0.png"),
    ]
    assert [finding.level for finding in found.findings] == ["needed", "training"]
    assert found.summarize()["missing"] == 3
    with pytest.raises(InputError, match=r"the image 'dev-7-0-img0' is missing: there should be .*dev-7-0-img0.png"):
        found.images.path("dev-7-0-img0")
    with pytest.raises(InputError, match=r"no image 'dev-8' in this data set"):
        found.images.path("dev-8")
    with pytest.raises(InputError, match=r"cirr in .* cannot be evaluated: val: 2 x image missing .*`.* data check"):
        found.require()
    read_cir("cirr", cirr, ["test1"]).require()
