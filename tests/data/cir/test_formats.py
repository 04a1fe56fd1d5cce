"""Every layout of every benchmark, and every irregularity that is known of them."""

import json
import shutil
import subprocess
import sys

import pytest

from mmgrad_explain.data.cir.fashion200k import replacement
from mmgrad_explain.data.cir.formats import FORMATS, read_cir
from mmgrad_explain.errors import InputError


def said(found, level=None):
    """What was found, without the advice: (where, count, what, first names)."""
    wanted = [f for f in found.findings if level in (None, f.level)]
    return [(f.where, f.count, f.what, *f.first) for f in wanted]


def without(*keys):
    """A change of a JSON list: its first record loses some keys."""
    return lambda entries: [{k: v for k, v in entries[0].items() if k not in keys}, *entries[1:]]


# ---------------------------------------------------------------------------------------------------------------- CIRR


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
    assert found.summary()["parts"]["val"] == {
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


def test_splits_by_any_name(cirr):
    assert list(read_cir("cirr", cirr, ["dev"]).queries) == ["val"]
    assert list(read_cir("cirr", cirr, ["test", "val"]).queries) == ["test1", "val"]
    with pytest.raises(InputError, match=r"cirr has no split 'test2': it has train, val, test1"):
        read_cir("cirr", cirr, ["test2"])


def test_oddities_of_cirr(cirr, change):
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


def test_a_list_that_is_too_short(cirr, change):
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


def test_groups_without_the_query(cirr, change):
    def move(entries):
        entries[0]["reference"] = entries[1]["target_hard"] = "dev-6-0-img0"
        entries[1]["target_soft"] = {"dev-6-0-img0": 1}

    change(cirr / "captions" / "cap.rc2.val.json", move)
    assert said(read_cir("cirr", cirr))[:2] == [
        ("val", 1, "query whose target is not in its group", "11"),
        ("val", 1, "query whose reference is not in its group", "10"),
    ]


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


def test_damaged_records(cirr, change):
    change(cirr / "captions" / "cap.rc2.val.json", lambda entries: [*without("pairid")(entries[:1]), 3, entries[1]])
    change(cirr / "captions" / "cap.rc2.test1.json", without("img_set"))
    change(cirr / "captions" / "cap.rc2.train.json", lambda e: [{**e[0], "target_soft": [1]}, {**e[1], "img_set": 3}])
    change(cirr / "image_splits" / "split.rc2.val.json", lambda files: {**files, "dev-9-0-img0": None})
    found = read_cir("cirr", cirr)
    assert [q.id for q in found.queries["val"]] == ["11"]
    what = "record of captions/cap.rc2.{}.json that lacks something"
    assert said(found, "needed") == [
        ("val", 1, "entry of image_splits/split.rc2.val.json that names no image", "no. 9"),
        ("val", 2, what.format("val"), "no. 1 has no pairid", "no. 2 has no pairid"),
    ]
    assert said(found, "training") == [
        (
            "train", 2, what.format("train"), "no. 1 has a target_soft that is no mapping from names to scores",
            "no. 2 has no list members",
        )
    ]  # fmt: skip


def test_missing_and_empty_pictures(cirr):
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
    assert found.summary()["missing"] == 3
    with pytest.raises(InputError, match=r"the image 'dev-7-0-img0' is missing: there should be .*dev-7-0-img0.png"):
        found.images.path("dev-7-0-img0")
    with pytest.raises(InputError, match=r"no image 'dev-8' in this data set"):
        found.images.path("dev-8")
    with pytest.raises(InputError, match=r"cirr in .* cannot be evaluated: val: 2 x image missing .*`.* data check"):
        found.require()
    read_cir("cirr", cirr, ["test1"]).require()


def test_splits_that_are_not_there(cirr):
    for name in ("captions/cap.rc2.train.json", "image_splits/split.rc2.train.json", "captions/cap.rc2.test1.json"):
        (cirr / name).unlink()
    found = read_cir("cirr", cirr)
    assert said(found) == [
        ("test1", 1, "file missing", "captions/cap.rc2.test1.json"),
        ("train", 1, "no annotations", "captions/cap.rc2.train.json"),
    ]
    assert [finding.level for finding in found.findings] == ["needed", "absent"]
    (cirr / "image_splits" / "split.rc2.test1.json").unlink()
    found = read_cir("cirr", cirr)
    assert found.complete
    assert [finding.level for finding in found.findings] == ["absent", "absent"]
    asked = read_cir("cirr", cirr, ["val", "test1"])
    assert said(asked, "needed") == [("test1", 1, "no annotations", "captions/cap.rc2.test1.json")]


def test_nothing_to_evaluate(cirr):
    for split in ("val", "test1"):
        (cirr / "captions" / f"cap.rc2.{split}.json").unlink()
        (cirr / "image_splits" / f"split.rc2.{split}.json").unlink()
    found = read_cir("cirr", cirr)
    assert said(found, "needed") == [
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


# ----------------------------------------------------------------------------------------------------------- FashionIQ


def test_fashioniq(fashioniq):
    found = read_cir("fashioniq", fashioniq)
    assert found.complete
    shared = ("pictures", 3, "image that several lists name", "Bshirttrain0", "Bshirtval0", "Bshirttest0")
    assert said(found) == [shared]
    assert found.findings[0].advice == "so the lists name 48 images, but 45 files are all there is"
    assert found.parts("val") == ["dress.val", "shirt.val", "toptee.val"]
    assert found.parts("toptee.val") == ["toptee.val"]
    first, second = found.queries["dress.val"]
    assert (first.id, first.reference, first.target) == ("0", "Bdressval0", "Bdressval1")
    assert first.captions == ("is solid white", "is a lighter color")
    assert (first.text, second.text) == ("Is solid white and is a lighter color", "Has longer sleeves and is Red")
    assert found.queries["shirt.test"][0].target is None
    assert len(found.images.galleries["toptee.val"]) == 6
    assert len(found.images.galleries["dress.val"]) == 5


def test_png_and_json_folder(fashioniq):
    (fashioniq / "captions").rename(fashioniq / "json")
    for path in list((fashioniq / "images").iterdir()):
        path.rename(path.with_suffix(".png"))
    found = read_cir("fashioniq", fashioniq, ["val"])
    assert found.complete
    assert found.images.path("Bdressval0").name == "Bdressval0.png"


def test_dirty_captions(fashioniq, change):
    def dirty(entries):
        entries[0]["captions"] = ["", " is black"]
        entries[1]["captions"] = ["is  more? ", "."]

    change(fashioniq / "captions" / "cap.shirt.val.json", dirty)
    found = read_cir("fashioniq", fashioniq, ["val"])
    assert [q.text for q in found.queries["shirt.val"]] == ["Is black", "Is more"]
    assert said(found, "odd")[1:] == [
        ("shirt.val", 1, "query with an empty caption beside others", "0"),
        ("shirt.val", 2, "caption with blanks at its ends", "0", "1"),
        ("shirt.val", 1, "caption with several blanks in a row", "1"),
    ]


def test_what_fashioniq_can_lack(fashioniq, change):
    (fashioniq / "captions" / "cap.dress.val.json").unlink()
    (fashioniq / "images" / "Btopteeval4.jpg").unlink()
    change(fashioniq / "image_splits" / "split.shirt.val.json", lambda asins: [*asins, asins[0], None])
    change(fashioniq / "captions" / "cap.shirt.val.json", without("captions"))
    change(fashioniq / "captions" / "cap.toptee.val.json", without("target"))
    found = read_cir("fashioniq", fashioniq, ["val"])
    assert said(found, "needed") == [
        ("dress.val", 1, "file missing", "captions/cap.dress.val.json"),
        ("shirt.val", 1, "entry of image_splits/split.shirt.val.json that names no image", "no. 7"),
        ("shirt.val", 1, "record of captions/cap.shirt.val.json that lacks something", "no. 1 has no list captions"),
        ("toptee.val", 1, "query without a target", "0"),
        ("toptee.val", 1, "image missing or empty (of 6)", "images/Btopteeval4.jpg"),
    ]
    assert ("shirt.val", 1, "image listed more than once in the gallery", "Bshirtval0") in said(found, "odd")
    assert len(found.images.galleries["shirt.val"]) == 5


# --------------------------------------------------------------------------------------------------------------- Shoes


def test_shoes(shoes):
    found = read_cir("shoes", shoes)
    assert found.findings == ()
    assert [(q.id, q.reference, q.target, q.text) for q in found.queries["eval"]] == [
        ("1", "img_c_5.jpg", "img_c_4.jpg", "has; straps"),
        ("2", "img_c_6.jpg", "img_c_5.jpg", "is darker"),
    ]
    assert len(found.images.galleries["eval"]) == 4
    assert found.images.path("img_c_7.jpg") == shoes / "attributedata" / "womens_c" / "7" / "img_c_7.jpg"
    assert list(read_cir("shoes", shoes, ["val"]).queries) == ["eval"]


def test_shoes_prepared_as_json(shoes, write):
    records = json.loads((shoes / "dataset" / "relative_captions_shoes.json").read_text())
    shutil.rmtree(shoes / "dataset")
    for record in records:
        for key in ("ImageName", "ReferenceImageName"):
            record[key] = f"womens/x/{record[key]}"
    lists = {"split.val.json": [f"womens/x/img_c_{i}.jpg" for i in (4, 5, 6, 7)]}
    write(shoes, {"triplet.val.json": records[1:], **lists})
    found = read_cir("shoes", shoes)
    assert said(found) == [("train", 1, "no annotations", "triplet.train.json")]
    assert [q.reference for q in found.queries["eval"]] == ["img_c_5.jpg", "img_c_6.jpg"]
    assert found.complete
    write(shoes, {"split.val.json": ["img_c_4.jpg", 3]})
    assert said(read_cir("shoes", shoes, ["eval"]), "needed")[0][2:] == (
        "entry of split.val.json that names no image",
        "no. 2",
    )


def test_shoes_as_text(shoes, write):
    shutil.rmtree(shoes / "dataset")
    line = "attributedata/womens_{0}/0/img_{0}_{1}.jpg;attributedata/womens_{0}/0/img_{0}_{2}.jpg;{3}\n"
    write(
        shoes,
        {
            "shoes-cap-test.txt": line.format("c", 5, 4, "has; straps") + "only;two\n",
            "shoes-cap-train.txt": line.format("b", 2, 1, "is red"),
            "shoes-test-all.txt": "attributedata/womens_c/7/img_c_7.jpg\n",
        },
    )
    found = read_cir("shoes", shoes)
    assert said(found) == [
        ("eval", 1, "record of shoes-cap-test.txt that lacks something", "no. 2 is not reference;target;caption")
    ]
    query = found.queries["eval"][0]
    assert (query.reference, query.target, query.text) == ("img_c_5.jpg", "img_c_4.jpg", "has; straps")
    assert found.images.galleries["eval"] == ("img_c_7.jpg", "img_c_5.jpg", "img_c_4.jpg")
    assert found.images.galleries["train"] == ("img_b_2.jpg", "img_b_1.jpg")
    (shoes / "shoes-cap-train.txt").unlink()
    assert said(read_cir("shoes", shoes))[1] == ("train", 1, "no annotations", "shoes-cap-train.txt")


def test_oddities_of_shoes(shoes, change):
    def odd(entries):
        entries[0]["ReferenceImageName"] = "img_c_4.jpg"
        entries[1]["ReferenceImageName"] = entries[1]["ImageName"]
        entries.append({**entries[2], "ImageName": "img_d_1.jpg"})

    change(shoes / "dataset" / "relative_captions_shoes.json", odd)
    again = shoes / "again" / "img_c_4.jpg"
    again.parent.mkdir()
    again.write_text("picture")
    found = read_cir("shoes", shoes)
    assert said(found) == [
        ("train and eval", 1, "query whose target is in no list", "no. 4"),
        ("train and eval", 1, "query from one into the other", "no. 1"),
        ("pictures", 1, "file name that occurs twice", "attributedata/womens_c/4/img_c_4.jpg"),
        ("eval", 1, "query whose target is its reference", "1"),
    ]
    (shoes / "dataset" / "train_im_names.txt").unlink()
    found = read_cir("shoes", shoes)
    assert found.complete
    assert ("train and eval", 2, "query whose target is in no list", "no. 1", "no. 4") in said(found, "training")


def test_a_picture_of_shoes_is_missing(shoes):
    (shoes / "attributedata" / "womens_c" / "7" / "img_c_7.jpg").unlink()
    assert said(read_cir("shoes", shoes)) == [("eval", 1, "image missing or empty (of 4)", "img_c_7.jpg")]


# --------------------------------------------------------------------------------------------------------------- CIRCO


def test_circo(circo):
    found = read_cir("circo", circo)
    assert said(found) == [("test", 2, "query that says the same as another", "0", "1")]
    query = found.queries["val"][0]
    assert (query.id, query.reference, query.target, query.relevant) == ("0", "4", "5", ("5", "2", "7"))
    assert query.aspects == ("cardinality", "negation")
    assert found.queries["test"][0].relevant == ()
    assert found.images.galleries["val"] == found.images.galleries["test"] == ("2", "4", "5", "7", "9", "11")
    assert found.images.path("11").name == "000000000011.jpg"


def test_circo_without_its_list(circo, change):
    listing = circo / "COCO2017_unlabeled" / "annotations" / "image_info_unlabeled2017.json"
    change(listing, lambda info: {"images": [*info["images"][1:], {"file_name": "x.jpg"}]})
    change(circo / "annotations" / "val.json", lambda entries: [entries[0], {**entries[1], "gt_img_ids": [4]}])
    found = read_cir("circo", circo, ["val"])
    short = "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json"
    assert said(found) == [
        ("val", 1, f"entry of {short} that names no image", "no. 6"),
        ("val", 1, "reference that no list of images names", "2 of 1"),
        ("val", 1, "target that is not in the gallery", "2 of 0"),
    ]
    assert found.queries["val"][1].relevant == ("9", "4")
    listing.unlink()
    (circo / "COCO2017_unlabeled" / "unlabeled2017" / "000000000007.jpg").unlink()
    assert said(read_cir("circo", circo, ["val"])) == [
        ("val", 1, "file missing", short),
        ("val", 1, "gallery without an image", "val"),
        ("val", 1, "image missing or empty (of 5)", "COCO2017_unlabeled/unlabeled2017/000000000007.jpg"),
    ]


# --------------------------------------------------------------------------------------------------------------- LaSCo


@pytest.mark.parametrize("place", [".", "images", "coco", "corpus"])
def test_lasco(lasco, place):
    for split in ("train2014", "val2014"):
        if place == "corpus":  # as the corpora say
            (lasco / split.removesuffix("2014")).mkdir()
            (lasco / split).rename(lasco / split.removesuffix("2014") / split)
        elif place != ".":
            (lasco / place).mkdir(exist_ok=True)
            (lasco / split).rename(lasco / place / split)
    found = read_cir("lasco", lasco)
    assert found.findings == ()
    query = found.queries["val"][0]
    assert (query.id, query.reference, query.target, query.text) == ("28000", "28", "277", "no ball")
    assert found.images.galleries["val"] == ("28", "42", "277")
    for image in found.images.paths:
        assert found.images.path(image).is_file()


def test_what_lasco_can_lack(lasco, change):
    for path in (lasco / "downloads").iterdir():
        path.rename(lasco / path.name)
    change(lasco / "lasco_val.json", lambda entries: [*entries, {**entries[0], "query-image": [28]}])
    change(lasco / "lasco_val_corpus.json", lambda entries: [*entries[:2], {"id": 5}, {"path": "x"}])
    change(lasco / "lasco_train.json", without("target-image"))
    found = read_cir("lasco", lasco)
    what = "entry of lasco_val_corpus.json that names no image"
    assert said(found, "needed") == [
        ("val", 2, what, "no. 3", "no. 4"),
        ("val", 1, "record of lasco_val.json that lacks something", "no. 2 has no query-image of a number and a path"),
        ("val", 1, "target that is not in the gallery", "277 of 28000"),
    ]
    assert said(found, "training") == [("train", 1, "query without a target", "28000")]


# --------------------------------------------------------------------------------------------------------- Fashion200K


def test_fashion200k(fashion200k):
    found = read_cir("fashion200k", fashion200k)
    assert found.findings == ()
    first, second = found.queries["test"]
    folder = "women/dresses/day_dresses"
    assert first.reference == f"{folder}/2/2_0.jpeg"
    assert first.text == "replace blue with black"
    assert first.relevant == (f"{folder}/1/1_0.jpeg", f"{folder}/1/1_1.jpeg")
    assert (second.text, second.target) == ("replace black with blue", f"{folder}/3/3_0.jpeg")
    assert len(found.images.galleries["test"]) == 4


def test_what_fashion200k_can_lack(fashion200k):
    with (fashion200k / "test_queries.txt").open("a") as stream:
        stream.write("women/one.jpeg\nwomen/one.jpeg women/two.jpeg\n")
        stream.write("women/dresses/day_dresses/1/1_0.jpeg women/dresses/day_dresses/1/1_1.jpeg\n")
    with (fashion200k / "labels" / "dress_test_detect_all.txt").open("a") as stream:
        stream.write("women/three.jpeg\t0.3\n")
    found = read_cir("fashion200k", fashion200k)
    assert said(found) == [
        ("test", 1, "line that is not path, score, label", "dress_test_detect_all.txt, line 4"),
        (
            "test", 2, "record of test_queries.txt that lacks something", "no. 3 is not two paths",
            "no. 4 names women/one.jpeg, which has no label",
        ),
        ("test", 1, "query whose two images have one label", "4"),
    ]  # fmt: skip
    shutil.rmtree(fashion200k / "labels")
    assert ("test", 1, "file missing", "labels/*_test_detect_all.txt") in said(read_cir("fashion200k", fashion200k))


def test_the_words_that_differ():
    assert replacement("black lace dress", "blue lace dress") == "replace black with blue"
    assert replacement("black dress", "black lace dress") == "replace dress with lace"
    assert replacement("", "red") == "replace  with red"


# --------------------------------------------------------------------------------------------------------------- JSONL


def test_jsonl(jsonl):
    found = read_cir("jsonl", jsonl)
    assert found.findings == ()
    assert found == read_cir("jsonl", jsonl / "triplets.jsonl")
    first, second = found.queries["all"]
    assert (first.id, first.text, first.target) == ("0", "make it red", "b.jpg")
    assert (second.id, second.text, second.relevant) == ("second", "No dog and brighter", ("c.png", "a.jpg"))
    assert found.images.galleries["all"] == ("a.jpg", "b.jpg", "c.png")


def test_galleries_and_splits_of_ones_own(jsonl, write):
    record = {"reference": "a.jpg", "text": "t", "target": "b.jpg", "group": ["a.jpg", "b.jpg"]}
    lines = [json.dumps({**record, "split": split}) for split in ("val", "holdout")]
    write(jsonl, {"triplets.jsonl": "\n".join(lines), "gallery.txt": "a.jpg\nb.jpg\n", "gallery.val.txt": "b.jpg\nc\n"})
    found = read_cir("jsonl", jsonl)
    assert found.images.galleries == {"val": ("b.jpg", "c"), "holdout": ("a.jpg", "b.jpg")}
    assert found.images.path("c") == jsonl / "c.png"
    assert said(found) == [("val", 1, "member of a group that is not in the gallery", "a.jpg of 0")]
    found = read_cir("jsonl", jsonl, ["holdout"])
    assert (list(found.queries), found.complete) == (["holdout"], True)
    assert said(read_cir("jsonl", jsonl, ["dev"])) == [("dev", 1, "no query of this split", "triplets.jsonl")]
    (jsonl / "gallery.txt").unlink()
    assert said(read_cir("jsonl", jsonl, ["dev"]))[1:] == [("dev", 1, "gallery without an image", "dev")]


def test_names_are_taken_as_they_stand_first(jsonl, write):
    lines = [
        {"reference": "a.jpg", "text": "t", "target": "A.jpg"},
        {"reference": "b.JPG", "text": "t", "target": "a.png"},
    ]
    write(jsonl, {"triplets.jsonl": "\n".join(map(json.dumps, lines)), "A.jpg": "picture", "a.png": "picture"})
    found = read_cir("jsonl", jsonl)
    assert found.complete
    names = {image: found.images.path(image).name for image in found.images.paths}
    assert names == {"a.jpg": "a.jpg", "A.jpg": "A.jpg", "b.JPG": "b.jpg", "a.png": "a.png"}


def test_damaged_lines(jsonl, write):
    lines = ["{", "[1]", '{"text": "a", "reference": 3}', '{"reference": "a.jpg", "text": "t", "id": true}']
    write(jsonl, {"triplets.jsonl": "\n".join([*lines, '{"reference": "a.jpg", "text": "t"}'])})
    found = read_cir("jsonl", jsonl)
    (_, count, what, first, *others), target = said(found)
    assert (count, what) == (4, "record of triplets.jsonl that lacks something")
    assert first.startswith("no. 1 is not JSON: ")
    assert others == ["no. 2 is not an object", "no. 3 has no reference", "no. 4 has no id"]
    assert target == ("all", 1, "query without a target", "4")


def test_sets_of_the_other_commands_can_be_read(tmp_path, write):
    record = {
        "id": "1_recolour_dog", "reference": "refs.npy#0", "text": "make the dog red", "target": "targets.npy#7",
        "mask": "masks.npy#3", "class": "dog", "edit": "recolour", "fold": 2,
    }  # fmt: skip
    write(tmp_path, {"triplets.jsonl": json.dumps(record), "refs.npy": "stack"})
    found = read_cir("jsonl", tmp_path)
    assert found.images.path("refs.npy#0") == tmp_path / "refs.npy#0"
    assert said(found) == [("all", 1, "image missing or empty (of 2)", "targets.npy#7")]


# ------------------------------------------------------------------------------------------------------------- anything


@pytest.mark.parametrize("name", list(FORMATS))
def test_folders_that_hold_something_else(tmp_path, name):
    with pytest.raises(InputError, match=f"holds nothing of {name}: there is no "):
        read_cir(name, tmp_path)


def test_wrong_input(tmp_path):
    with pytest.raises(InputError, match=r"no data set format 'cir': did you mean 'cirr'\? there are cirr, "):
        read_cir("cir", tmp_path)
    with pytest.raises(InputError, match="is not a folder: give the one that holds circo"):
        read_cir("circo", tmp_path / "none")
    (tmp_path / "triplets.jsonl").write_text("\n")
    with pytest.raises(InputError, match="holds nothing of jsonl: no query is in its files"):
        read_cir("jsonl", tmp_path)


def test_nothing_heavy_is_imported(cirr):
    code = (
        "import sys; from mmgrad_explain.data.cir.formats import read_cir; found = read_cir('cirr', sys.argv[1]); "
        "print(found.complete, sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(cirr)], capture_output=True, text=True, check=False)
    assert done.stdout == "True []\n", done.stderr


# ----------------------------------------------------------------------------------------------- categories and empties


def test_fashioniq_by_category(fashioniq):
    for category in ("shirt", "toptee"):
        (fashioniq / "captions" / f"cap.{category}.val.json").unlink()
        (fashioniq / "image_splits" / f"split.{category}.val.json").unlink()
    found = read_cir("fashioniq", fashioniq, ["val"], ["dress"])
    assert (list(found.queries), found.findings, found.complete) == (["dress.val"], (), True)
    assert len(found.images.paths) == 5
    whole = read_cir("fashioniq", fashioniq, ["val"])
    assert list(whole.queries) == ["dress.val"]
    assert said(whole) == [
        ("shirt.val", 1, "category without annotations", "captions/cap.shirt.val.json"),
        ("toptee.val", 1, "category without annotations", "captions/cap.toptee.val.json"),
    ]
    assert whole.findings[0].advice == "fetch them, or take what is there (--category dress)"
    with pytest.raises(InputError, match=r"holds nothing of fashioniq: there is no captions/cap.shirt.val.json"):
        read_cir("fashioniq", fashioniq, ["val"], ["shirt"])
    with pytest.raises(InputError, match=r"fashioniq has no category 'dres': it has dress, shirt, toptee"):
        read_cir("fashioniq", fashioniq, ["val"], ["dres"])
    with pytest.raises(InputError, match=r"circo has no category 'dress': it has no categories"):
        read_cir("circo", fashioniq, ["val"], ["dress"])


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
def test_an_empty_part_is_said(name, what, request, write):
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
    assert (part, 1, expected, part) in said(found, "needed")
    with pytest.raises(InputError, match="cannot be evaluated"):
        found.require()
