r"""Sets that the package writes are read by it, whatever separators names have: lines end with ``\n`` alone."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain._system.user_files import read_text, split_lines, strip_blanks
from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.data.edits.build import build_edits
from mmgrad_explain.data.edits.options import EditOptions
from mmgrad_explain.data.instances.readers import read_coco, read_index_masks
from mmgrad_explain.data.triplets import Triplet, read_triplets, write_triplets
from mmgrad_explain.gallery.session import Session, SessionHit, SessionTurn

SPLITTING = [c for c in map(chr, range(sys.maxunicode + 1)) if len(f"a{c}b".splitlines()) > 1]
ODD = [c for c in map(chr, range(0x3001)) if c.isspace() or c in SPLITTING]
INSIDE = [c for c in ODD if c not in " \t\r\n"]


def test_there_are_many():
    assert {"\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"} < set(SPLITTING) <= set(ODD)


def test_lines_end_with_line_feeds(tmp_path):
    assert split_lines("a\nb\r\n\nc") == ["a", "b", "", "c"]
    assert split_lines("a\n") == ["a"]
    assert split_lines("") == []
    every = "".join(INSIDE) + "a\rb"
    (tmp_path / "file").write_bytes(f"{every}\r\n{every}\n".encode())
    assert split_lines(read_text(tmp_path / "file")) == [every, every]
    assert strip_blanks(f" \t{every} ") == every


def triplet(c, number):
    texts = [f"{what}{c}{number}{c}" for what in ("id", "refs/a", "make it red", "targets/a", "masks/a", "dog")]
    return Triplet(*texts, "recolour", phrase=f"{c}the dog", source_image=f"a{c}.jpg", attribution=f"by{c}", licence=c)


def test_triplets(tmp_path):
    written = [triplet(c, number) for number, c in enumerate(ODD)]
    write_triplets(written, tmp_path)
    assert read_triplets(tmp_path) == written
    found = read_cir("jsonl", tmp_path).queries["all"]
    assert [(one.id, one.reference, one.captions, one.target) for one in found] == [
        (one.id, one.reference, (one.text,), one.target) for one in written
    ]


def test_lists_of_pictures(tmp_path):
    names = [f"{c}a{c}b.jpg" for c in INSIDE]
    for name in names:
        (tmp_path / name).write_text("picture")
    (tmp_path / "gallery.txt").write_bytes("".join(f" {name}\r\n" for name in names).encode())
    record = {"reference": names[0], "text": "make it red", "target": names[1]}
    (tmp_path / "triplets.jsonl").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    found = read_cir("jsonl", tmp_path)
    assert found.images.galleries["all"] == tuple(names)
    assert found.findings == ()


def test_class_names(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "labels").mkdir()
    Image.new("L", (8, 8), 1).save(tmp_path / "labels" / "a.png")
    names = [f"{c}dog{c}" for c in INSIDE]
    (tmp_path / "names.txt").write_bytes("\n".join(names).encode())
    read = read_index_masks(tmp_path, tmp_path / "labels", names=tmp_path / "names.txt")
    assert [label.class_name for label in read.photos[0].labels] == names


def test_a_session(tmp_path):
    hits = tuple(SessionHit(rank, f"/a{c}.jpg", 0.5, "0") for rank, c in enumerate(ODD, 1))
    session = Session("mine.db", "pictures", "0", [SessionTurn("a.jpg", "".join(ODD), hits)])
    session.save(tmp_path / "s.json")
    assert Session.load(tmp_path / "s.json") == session


@pytest.mark.parametrize("c", ["".join(c for c in INSIDE if c != "\u1680")])
def test_a_set_of_edits(tmp_path, c):
    rng = np.random.default_rng(0)
    pixels = np.full((40, 40, 3), 110, np.uint8)
    pixels[8:28, 8:28] = rng.integers(0, 255, 3)
    Image.fromarray(pixels).save(tmp_path / f"a{c}b.png")
    box = {"id": 0, "image_id": 0, "category_id": 0, "segmentation": [[8, 8, 28, 8, 28, 28, 8, 28]]}
    photo = {"id": 0, "file_name": f"a{c}b.png", "license": 1, "author": f"Ann{c}Lee"}
    licence = {"id": 1, "name": f"free{c}"}
    data = {
        "images": [photo],
        "annotations": [box],
        "categories": [{"id": 0, "name": f"dog{c}s"}],
        "licenses": [licence],
    }
    (tmp_path / "coco.json").write_text(json.dumps(data))
    source = read_coco(tmp_path, tmp_path / "coco.json")
    options = EditOptions(size=40, edits_per_image=2, min_area=0.01, kinds=("recolour", "darken"))
    build_edits(source, tmp_path / "set", options, count=1)
    (first,) = read_triplets(tmp_path / "set")
    build_edits(source, tmp_path / "set", options, resume=True)
    triplets = read_triplets(tmp_path / "set")
    assert triplets[0].to_record().items() >= {**first.to_record(), "contrast_ids": []}.items()
    assert {one.attribution for one in triplets} == {f"Ann{c}Lee"}
    assert {one.source_image for one in triplets} == {f"a{c}b.png"}
