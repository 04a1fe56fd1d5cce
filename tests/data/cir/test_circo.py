"""CIRCO: its layout, and what it can lack."""

from mmgrad_explain.data.cir.formats import read_cir


def test_circo(circo, list_findings):
    found = read_cir("circo", circo)
    assert list_findings(found) == [("test", 2, "query that says the same as another", "0", "1")]
    query = found.queries["val"][0]
    assert (query.id, query.reference, query.target, query.relevant) == ("0", "4", "5", ("5", "2", "7"))
    assert query.aspects == ("cardinality", "negation")
    assert found.queries["test"][0].relevant == ()
    assert found.images.galleries["val"] == found.images.galleries["test"] == ("2", "4", "5", "7", "9", "11")
    assert found.images.path("11").name == "000000000011.jpg"


def test_circo_without_its_list(circo, change, list_findings):
    listing = circo / "COCO2017_unlabeled" / "annotations" / "image_info_unlabeled2017.json"
    change(listing, lambda info: {"images": [*info["images"][1:], {"file_name": "x.jpg"}]})
    change(circo / "annotations" / "val.json", lambda entries: [entries[0], {**entries[1], "gt_img_ids": [4]}])
    found = read_cir("circo", circo, ["val"])
    short = "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json"
    assert list_findings(found) == [
        ("val", 1, f"entry of {short} that names no image", "no. 6"),
        ("val", 1, "reference that no list of images names", "2 of 1"),
        ("val", 1, "target that is not in the gallery", "2 of 0"),
    ]
    assert found.queries["val"][1].relevant == ("9", "4")
    listing.unlink()
    (circo / "COCO2017_unlabeled" / "unlabeled2017" / "000000000007.jpg").unlink()
    assert list_findings(read_cir("circo", circo, ["val"])) == [
        ("val", 1, "file missing", short),
        ("val", 1, "gallery without an image", "val"),
        ("val", 1, "image missing or empty (of 5)", "COCO2017_unlabeled/unlabeled2017/000000000007.jpg"),
    ]
