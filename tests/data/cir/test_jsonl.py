"""Triplets of your own: keys, splits, galleries, damaged lines."""

import json

from mmgrad_explain.data.cir.formats import read_cir


def test_jsonl(jsonl):
    found = read_cir("jsonl", jsonl)
    assert found.findings == ()
    assert found == read_cir("jsonl", jsonl / "triplets.jsonl")
    first, second = found.queries["all"]
    assert (first.id, first.text, first.target) == ("0", "make it red", "b.jpg")
    assert (second.id, second.text, second.relevant) == ("second", "No dog and brighter", ("c.png", "a.jpg"))
    assert found.images.galleries["all"] == ("a.jpg", "b.jpg", "c.png")


def test_galleries_and_splits_of_ones_own(jsonl, write, list_findings):
    record = {"reference": "a.jpg", "text": "t", "target": "b.jpg", "group": ["a.jpg", "b.jpg"]}
    lines = [json.dumps({**record, "split": split}) for split in ("val", "holdout")]
    write(jsonl, {"triplets.jsonl": "\n".join(lines), "gallery.txt": "a.jpg\nb.jpg\n", "gallery.val.txt": "b.jpg\nc\n"})
    found = read_cir("jsonl", jsonl)
    assert found.images.galleries == {"val": ("b.jpg", "c"), "holdout": ("a.jpg", "b.jpg")}
    assert found.images.path("c") == jsonl / "c.png"
    assert list_findings(found) == [("val", 1, "member of a group that is not in the gallery", "a.jpg of 0")]
    found = read_cir("jsonl", jsonl, ["holdout"])
    assert (list(found.queries), found.complete) == (["holdout"], True)
    assert list_findings(read_cir("jsonl", jsonl, ["dev"])) == [("dev", 1, "no query of this split", "triplets.jsonl")]
    (jsonl / "gallery.txt").unlink()
    assert list_findings(read_cir("jsonl", jsonl, ["dev"]))[1:] == [("dev", 1, "gallery without an image", "dev")]


def test_what_only_training_needs(jsonl, write, list_findings):
    plain = {"reference": "a.jpg", "text": "t", "target": "b.jpg"}
    lines = [
        {**plain, "mask": "m.png", "paraphrases": ["u", "v"], "edit": "recolour"},
        {**plain, "text": "both", "mask": "m.png", "mask_object_in": "both"},
        {**plain, "text": "each", "mask": "m.png", "target_mask": "n.png", "mask_object_in": "both"},
        {**plain, "text": "outside", "mask": "../m.png"},
        {**plain, "text": "no path", "target_mask": 3},
    ]
    write(jsonl, {"triplets.jsonl": "\n".join(map(json.dumps, lines))})
    found = read_cir("jsonl", jsonl)
    first, *others = found.queries["all"]
    assert (first.mask, first.target_mask, first.paraphrases, first.edit) == ("m.png", None, ("u", "v"), "recolour")
    assert [query.target_mask for query in others] == ["m.png", "n.png"]
    ((_, count, _, *names),) = list_findings(found)
    assert count == 2
    assert names == ["no. 4 has a mask whose path leads out of the folder", "no. 5 has no target_mask"]


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


def test_damaged_lines(jsonl, write, list_findings):
    lines = ["{", "[1]", '{"text": "a", "reference": 3}', '{"reference": "a.jpg", "text": "t", "id": true}']
    write(jsonl, {"triplets.jsonl": "\n".join([*lines, '{"reference": "a.jpg", "text": "t"}'])})
    found = read_cir("jsonl", jsonl)
    (_, count, what, first, *others), target = list_findings(found)
    assert (count, what) == (4, "record of triplets.jsonl that lacks something")
    assert first.startswith("no. 1 is not JSON: ")
    assert others == ["no. 2 is not an object", "no. 3 has no reference", "no. 4 has no id"]
    assert target == ("all", 1, "query without a target", "4")


def test_sets_of_the_other_commands_can_be_read(tmp_path, write, list_findings):
    record = {
        "id": "1_recolour_dog", "reference": "refs.npy#0", "text": "make the dog red", "target": "targets.npy#7",
        "mask": "masks.npy#3", "class": "dog", "edit": "recolour", "fold": 2,
    }  # fmt: skip
    write(tmp_path, {"triplets.jsonl": json.dumps(record), "refs.npy": "stack"})
    found = read_cir("jsonl", tmp_path)
    assert found.images.path("refs.npy#0") == tmp_path / "refs.npy#0"
    assert list_findings(found) == [("all", 1, "image missing or empty (of 2)", "targets.npy#7")]
