"""LaSCo: its layouts, and what it can lack."""

import pytest

from mmgrad_explain.data.cir.formats import read_cir


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


def test_what_lasco_can_lack(lasco, change, list_findings, without):
    for path in (lasco / "downloads").iterdir():
        path.rename(lasco / path.name)
    change(lasco / "lasco_val.json", lambda entries: [*entries, {**entries[0], "query-image": [28]}])
    change(lasco / "lasco_val_corpus.json", lambda entries: [*entries[:2], {"id": 5}, {"path": "x"}])
    change(lasco / "lasco_train.json", without("target-image"))
    found = read_cir("lasco", lasco)
    what = "entry of lasco_val_corpus.json that names no image"
    assert list_findings(found, "needed") == [
        ("val", 2, what, "no. 3", "no. 4"),
        ("val", 1, "record of lasco_val.json that lacks something", "no. 2 has no query-image of a number and a path"),
        ("val", 1, "target that is not in the gallery", "277 of 28000"),
    ]
    assert list_findings(found, "training") == [("train", 1, "query without a target", "28000")]
