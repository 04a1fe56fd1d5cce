"""What every reader does with damaged files, damaged records and absent splits."""

import shutil

import pytest

from mmgrad_explain.data.cir.formats import FORMATS, read_cir
from mmgrad_explain.errors import InputError


@pytest.mark.parametrize(
    ("file", "text", "level", "what", "name"),
    [
        ("captions/cap.rc2.val.json", "[{", "needed", "file is not JSON, or breaks off", "cap.rc2.val.json: Expecting"),
        ("captions/cap.rc2.val.json", "{}", "needed", "file of another form", "a dict where a list should be"),
        ("image_splits/split.rc2.train.json", "\xff", "training", "file unreadable", "split.rc2.train.json: 'utf-8'"),
    ],
)
def test_damaged_files(cirr, file, text, level, what, name):
    (cirr / file).write_text(text, encoding="latin-1")
    first = read_cir("cirr", cirr).findings[0]
    assert (first.level, first.what, first.count) == (level, what, 1)
    assert name in first.first[0]


def test_damaged_records(cirr, change, list_findings, without):
    change(cirr / "captions" / "cap.rc2.val.json", lambda entries: [*without("pairid")(entries[:1]), 3, entries[1]])
    change(cirr / "captions" / "cap.rc2.test1.json", without("img_set"))
    change(cirr / "captions" / "cap.rc2.train.json", lambda e: [{**e[0], "target_soft": [1]}, {**e[1], "img_set": 3}])
    change(cirr / "image_splits" / "split.rc2.val.json", lambda files: {**files, "dev-9-0-img0": None})
    found = read_cir("cirr", cirr)
    assert [q.id for q in found.queries["val"]] == ["11"]
    what = "record of captions/cap.rc2.{}.json that lacks something"
    assert list_findings(found, "needed") == [
        ("val", 1, "entry of image_splits/split.rc2.val.json that names no image", "no. 9"),
        ("val", 2, what.format("val"), "no. 1 has no pairid", "no. 2 has no pairid"),
    ]
    assert list_findings(found, "training") == [
        (
            "train", 2, what.format("train"), "no. 1 has a target_soft that is no mapping from names to scores",
            "no. 2 has no list members",
        )
    ]  # fmt: skip


def test_splits_that_are_not_there(cirr, list_findings):
    for name in ("captions/cap.rc2.train.json", "image_splits/split.rc2.train.json", "captions/cap.rc2.test1.json"):
        (cirr / name).unlink()
    found = read_cir("cirr", cirr)
    assert list_findings(found) == [
        ("test1", 1, "file missing", "captions/cap.rc2.test1.json"),
        ("train", 1, "no annotations", "captions/cap.rc2.train.json"),
    ]
    assert [finding.level for finding in found.findings] == ["needed", "absent"]
    (cirr / "image_splits" / "split.rc2.test1.json").unlink()
    found = read_cir("cirr", cirr)
    assert found.complete
    assert [finding.level for finding in found.findings] == ["absent", "absent"]
    asked = read_cir("cirr", cirr, ["val", "test1"])
    assert list_findings(asked, "needed") == [("test1", 1, "no annotations", "captions/cap.rc2.test1.json")]


def test_nothing_to_evaluate(cirr, list_findings):
    for split in ("val", "test1"):
        (cirr / "captions" / f"cap.rc2.{split}.json").unlink()
        (cirr / "image_splits" / f"split.rc2.{split}.json").unlink()
    found = read_cir("cirr", cirr)
    assert list_findings(found, "needed") == [
        (split, 1, "no annotations", f"captions/cap.rc2.{split}.json") for split in ("val", "test1")
    ]


def test_many_findings_are_counted(cirr, change):
    shutil.rmtree(cirr / "img_raw")
    change(cirr / "captions" / "cap.rc2.val.json", lambda entries: [{**e, "pairid": 10} for e in entries])
    found = read_cir("cirr", cirr)
    assert str(found.findings[0]) == "val: 1 x id that occurs more than once; give each query an id of its own: 10"
    assert found.findings[1].names.endswith("img_raw/dev/dev-4-0-img0.png and 3 more")
    with pytest.raises(InputError, match=r": 10 \(and 2 findings more\); see"):
        found.require()


# Of every format, what empties the queries of a part, and what empties its gallery.
EMPTY = {
    "cirr": ("captions/cap.rc2.val.json", "[]", "image_splits/split.rc2.val.json", "{}"),
    "fashioniq": ("captions/cap.dress.val.json", "[]", "image_splits/split.dress.val.json", "[]"),
    "shoes": ("dataset/relative_captions_shoes.json", "[]", "dataset/eval_im_names.txt", ""),
    "circo": (
        "annotations/val.json", "[]", "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json", '{"images": []}',
    ),
    "lasco": ("downloads/lasco_val.json", "[]", "downloads/lasco_val_corpus.json", "[]"),
    "fashion200k": ("test_queries.txt", "", "labels/dress_test_detect_all.txt", ""),
    "jsonl": ("triplets.jsonl", "", "gallery.txt", ""),
}  # fmt: skip


@pytest.mark.parametrize("what", ["queries", "gallery"])
@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_part_is_reported(name, what, request, write, list_findings):
    root = request.getfixturevalue(name)
    queries, nothing, gallery, no_pictures = EMPTY[name]
    if (name, what) == ("jsonl", "queries"):
        write(root, {queries: nothing})
        with pytest.raises(InputError, match="holds nothing of jsonl: no query is in its files"):
            read_cir(name, root)
        return
    if name == "fashion200k" and what == "gallery":
        write(root, {"labels/skirt_test_detect_all.txt": ""})
    write(root, {queries: nothing} if what == "queries" else {gallery: no_pictures})
    found = read_cir(name, root)
    expected = "part without a query" if what == "queries" else "gallery without an image"
    part = {"shoes": "eval", "fashion200k": "test", "jsonl": "all", "fashioniq": "dress.val"}.get(name, "val")
    if (name, what) in {("shoes", "gallery"), ("fashion200k", "gallery")}:  # where the queries hang on the lists
        expected = "gallery without an image"
    assert (part, 1, expected, part) in list_findings(found, "needed")
    with pytest.raises(InputError, match="cannot be evaluated"):
        found.require()
