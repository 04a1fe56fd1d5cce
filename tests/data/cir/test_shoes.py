"""Shoes: its three forms, and what can be wrong with them."""

import json
import shutil

from mmgrad_explain.data.cir.formats import read_cir


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


def test_shoes_prepared_as_json(shoes, write, list_findings):
    records = json.loads((shoes / "dataset" / "relative_captions_shoes.json").read_text())
    shutil.rmtree(shoes / "dataset")
    for record in records:
        for key in ("ImageName", "ReferenceImageName"):
            record[key] = f"womens/x/{record[key]}"
    lists = {"split.val.json": [f"womens/x/img_c_{i}.jpg" for i in (4, 5, 6, 7)]}
    write(shoes, {"triplet.val.json": records[1:], **lists})
    found = read_cir("shoes", shoes)
    assert list_findings(found) == [("train", 1, "no annotations", "triplet.train.json")]
    assert [q.reference for q in found.queries["eval"]] == ["img_c_5.jpg", "img_c_6.jpg"]
    assert found.complete
    write(shoes, {"split.val.json": ["img_c_4.jpg", 3]})
    assert list_findings(read_cir("shoes", shoes, ["eval"]), "needed")[0][2:] == (
        "entry of split.val.json that names no image",
        "no. 2",
    )


def test_shoes_as_text(shoes, write, list_findings):
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
    assert list_findings(found) == [
        ("eval", 1, "record of shoes-cap-test.txt that lacks something", "no. 2 is not reference;target;caption")
    ]
    query = found.queries["eval"][0]
    assert (query.reference, query.target, query.text) == ("img_c_5.jpg", "img_c_4.jpg", "has; straps")
    assert found.images.galleries["eval"] == ("img_c_7.jpg", "img_c_5.jpg", "img_c_4.jpg")
    assert found.images.galleries["train"] == ("img_b_2.jpg", "img_b_1.jpg")
    (shoes / "shoes-cap-train.txt").unlink()
    assert list_findings(read_cir("shoes", shoes))[1] == ("train", 1, "no annotations", "shoes-cap-train.txt")


def test_oddities_of_shoes(shoes, change, list_findings):
    def odd(entries):
        entries[0]["ReferenceImageName"] = "img_c_4.jpg"
        entries[1]["ReferenceImageName"] = entries[1]["ImageName"]
        entries.append({**entries[2], "ImageName": "img_d_1.jpg"})

    change(shoes / "dataset" / "relative_captions_shoes.json", odd)
    again = shoes / "again" / "img_c_4.jpg"
    again.parent.mkdir()
    again.write_text("picture")
    found = read_cir("shoes", shoes)
    assert list_findings(found) == [
        ("train and eval", 1, "query whose target is in no list", "no. 4"),
        ("train and eval", 1, "query from one into the other", "no. 1"),
        ("pictures", 1, "file name that occurs twice", "attributedata/womens_c/4/img_c_4.jpg"),
        ("eval", 1, "query whose target is its reference", "1"),
    ]
    (shoes / "dataset" / "train_im_names.txt").unlink()
    found = read_cir("shoes", shoes)
    assert found.complete
    assert ("train and eval", 2, "query whose target is in no list", "no. 1", "no. 4") in list_findings(
        found, "training"
    )


def test_a_picture_of_shoes_is_missing(shoes, list_findings):
    (shoes / "attributedata" / "womens_c" / "7" / "img_c_7.jpg").unlink()
    assert list_findings(read_cir("shoes", shoes)) == [("eval", 1, "image missing or empty (of 4)", "img_c_7.jpg")]
