"""Images that are none."""

import json

from PIL import Image

from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.data.cir.image_files import check_images


def test_what_cannot_be_read_is_named(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    records = [
        {"reference": "a.png", "text": "two  blanks", "target": "b.png", "split": "train"},
        {"reference": "b.png", "text": "t", "target": "missing.png", "split": "val"},
    ]
    (tmp_path / "triplets.jsonl").write_text("\n".join(map(json.dumps, records)))
    found, seen = read_cir("jsonl", tmp_path), []
    opened = check_images(found, lambda *what: seen.append(what))
    assert seen == [("images opened", 1, 2), ("images opened", 2, 2)]
    assert [(f.level, f.where, f.what, f.count) for f in opened.findings] == [
        ("needed", "val", "image missing or empty (of 2)", 1),
        ("needed", "val", "image that cannot be read (of 2)", 1),
        ("training", "train", "image that cannot be read (of 2)", 1),
        ("odd", "train", "caption with several blanks in a row", 1),
    ]
    assert "b.png" in opened.findings[1].first[0]
    assert (opened.queries, opened.images) == (found.queries, found.images)


def test_a_set_in_order_stays_as_it_is(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "triplets.jsonl").write_text(json.dumps({"reference": "a.png", "text": "t", "target": "a.png"}))
    found = read_cir("jsonl", tmp_path)
    assert check_images(found) == found
