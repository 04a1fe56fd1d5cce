"""FashionIQ: its layouts, captions and categories, and what can be wrong with it."""

import pytest

from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.errors import InputError


def test_fashioniq(fashioniq, said):
    found = read_cir("fashioniq", fashioniq)
    assert found.complete
    shared = ("pictures", 3, "image that several lists name", "Bshirttrain0", "Bshirtval0", "Bshirttest0")
    assert said(found) == [shared]
    assert found.findings[0].advice == "so the lists name 48 images, but 45 files are all there is"
    splits = ("train", "val", "test")
    assert list(found.queries) == [f"{name}.{split}" for split in splits for name in ("dress", "shirt", "toptee")]
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


def test_dirty_captions(fashioniq, change, said):
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


def test_what_fashioniq_can_lack(fashioniq, change, said, without):
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


def test_fashioniq_by_category(fashioniq, said):
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
