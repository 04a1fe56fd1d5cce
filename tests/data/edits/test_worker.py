"""The triplets of one photograph: records, file names and the line of the journal."""

import json
from dataclasses import replace

from mmgrad_explain.data.edits.options import EditOptions, OutputOptions
from mmgrad_explain.data.edits.worker import make_photo_keys, make_triplets

OPTIONS = EditOptions(size=64, edits_per_image=3, min_area=0.01)


def test_the_line_names_the_files(source):
    photo = next(p for p in source.photos if p.name == "0.jpg")
    made = make_triplets(photo, "k", OPTIONS, OutputOptions())
    line = json.loads(made.line)
    assert (line["photo"], line["problems"], len(line["records"])) == ("0.jpg", [], made.triplets)
    assert {record[key] for record in line["records"] for key in ("reference", "target", "mask")} == set(made.files)
    assert made.drawing > 0


def test_a_damaged_photograph_gives_nothing_but_the_reason(source):
    made = make_triplets(next(p for p in source.photos if p.name == "6.jpg"), "k", OPTIONS, OutputOptions())
    (problem,) = json.loads(made.line)["problems"]
    assert "is truncated or damaged" in problem
    assert (made.triplets, made.files) == (0, {})


def test_a_photograph_without_licence_gets_the_one_that_is_stated(source):
    photo = replace(next(p for p in source.photos if p.name == "0.jpg"), licence=None)
    records = json.loads(make_triplets(photo, "k", OPTIONS, OutputOptions(licence="CC0")).line)["records"]
    assert {record["license"] for record in records} == {"CC0"}
    assert all(record["id"].startswith("k_") for record in records)


def test_photographs_never_share_a_file_name():
    keys = make_photo_keys(["a.jpg", "b/a.jpg", "b-a.jpg", "a.png", "c d.jpg"])
    assert len(set(keys.values())) == 5
    assert keys["c d.jpg"] == "c-d"
    assert keys["a.jpg"].startswith("a-")


def test_long_names_fit_into_the_name_of_a_file():
    names = ["é" * 120 + "a.jpg", "é" * 120 + "b.jpg", "folder/" * 60 + "c.jpg", "\udce9.jpg"]
    keys = make_photo_keys(names)
    assert len(set(keys.values())) == len(names)
    assert all(len(key.encode()) <= 130 for key in keys.values())
