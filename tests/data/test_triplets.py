"""Triplet sets on disk."""

import json

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.triplets import Triplet, read_pixels, read_triplets, split_image_path, write_triplets
from mmgrad_explain.errors import InputError, OutputExistsError

RECORD = {
    "id": "1_recolour_dog",
    "reference": "refs/1.png",
    "text": "make the dog red",
    "target": "targets/1.png",
    "mask": "masks/1.png",
    "class": "dog",
    "edit": "recolour",
    "detail": None,
    "isthing": True,
    "bbox": [1, 2, 3, 4],
    "license": "Attribution License",
    "fold": 2,
    "contrast_ids": ["2_darken_cat"],
    "mood": "sunny",
}


def written(folder, *records):
    (folder / "triplets.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_a_set_of_another_builder_is_read(tmp_path):
    (triplet,) = read_triplets(written(tmp_path, RECORD))
    assert triplet.class_name == "dog"
    assert triplet.detail == ""
    assert triplet.bbox == (1, 2, 3, 4)
    assert triplet.licence == "Attribution License"
    assert triplet.contrast_ids == ("2_darken_cat",)
    assert triplet.other == {"mood": "sunny"}
    assert triplet.folder == tmp_path
    assert {**triplet.to_record(), "detail": None}.items() >= RECORD.items()


def test_what_is_written_is_read_again(tmp_path):
    triplets = [
        Triplet("a", "r", "té", "t", "m", "dog", "remove", folder=tmp_path),
        Triplet("b", "r", "u", "t", "m", "dog", "add", bbox=(1, 2, 3, 4), other={"x": 1}, folder=tmp_path),
    ]
    write_triplets(triplets, tmp_path)
    assert read_triplets(tmp_path) == triplets
    assert read_triplets(str(tmp_path))[0].folder == tmp_path
    with pytest.raises(OutputExistsError, match="is there already"):
        write_triplets(triplets, tmp_path)
    write_triplets(triplets[:1], tmp_path, overwrite=True)
    assert read_triplets(tmp_path) == triplets[:1]


def test_folds(tmp_path):
    written(tmp_path, RECORD, {**RECORD, "id": "2", "fold": 0})
    assert [t.id for t in read_triplets(tmp_path, fold=0)] == ["2"]
    with pytest.raises(InputError, match=r"has no fold 1: it has \[0, 2\]"):
        read_triplets(tmp_path, fold=1)


def test_pictures(tmp_path):
    (triplet,) = read_triplets(written(tmp_path, RECORD))
    rng = np.random.default_rng(0)
    reference, target = rng.integers(0, 255, (2, 6, 8, 3), dtype=np.uint8)
    mask = rng.random((6, 8)) < 0.5
    for path, pixels in (
        (triplet.reference, reference),
        (triplet.target, target),
        (triplet.mask, mask * np.uint8(255)),
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / path)
    for found, wanted in zip(triplet.read_images(), (reference, target, mask), strict=True):
        assert found.dtype == wanted.dtype
        assert (found == wanted).all()
    Image.fromarray(target[:4]).save(tmp_path / triplet.target)
    with pytest.raises(InputError, match=r"triplet 1_recolour_dog: .* different sizes \(8 x 6, 8 x 4, 8 x 6\)"):
        triplet.read_images()


def test_pictures_of_stacks(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (3, 6, 8, 3), dtype=np.uint8)
    masks = rng.random((2, 6, 8)) < 0.5
    np.save(tmp_path / "p.npy", pictures)
    np.save(tmp_path / "m.npy", masks)
    record = {**RECORD, "reference": "p.npy#0", "target": "p.npy#2", "mask": "m.npy#1"}
    (triplet,) = read_triplets(written(tmp_path, record))
    for found, wanted in zip(triplet.read_images(), (pictures[0], pictures[2], masks[1]), strict=True):
        assert type(found) is np.ndarray
        assert found.dtype == wanted.dtype
        assert (found == wanted).all()
    assert split_image_path("a/p.npy#12") == ("a/p.npy", 12)
    assert split_image_path("photo#1.png") == ("photo#1.png", None)


@pytest.mark.parametrize(
    ("path", "mask", "message"),
    [
        ("p.npy#3", False, r"p.npy has no #3: it holds 3, from #0 on"),
        ("p.npy#-1", False, r"p.npy#-1 names no image of the stack: say which one, like .*p.npy#0"),
        ("p.npy", False, r"p.npy names no image of the stack: say which one, like .*p.npy#0"),
        ("q.npy#0", False, r"no such file: .*q.npy"),
        ("p.npy#0", True, r"p.npy holds uint8 of shape \(3, 6, 8, 3\), not a stack of masks, \(N, H, W\) bool"),
        ("m.npy#0", False, r"m.npy holds bool of shape \(2, 6, 8\), not a stack of images, \(N, H, W, 3\) uint8"),
        ("one.npy#0", False, r"one.npy holds uint8 of shape \(6, 8, 3\), not a stack of images"),
        ("text.npy#0", False, r"text.npy is not a NumPy file, or damaged"),
        ("empty.npy#0", False, r"empty.npy is not a NumPy file, or damaged"),
        ("cut.npy#0", False, r"cut.npy is not a NumPy file, or damaged"),
        ("objects.npy#0", False, r"objects.npy is not a NumPy file, or damaged"),
        ("zip.npy#0", False, r"zip.npy is an archive of arrays, not one: write it with numpy.save"),
    ],
)
def test_stacks_that_do_not_fit(tmp_path, path, mask, message):
    np.save(tmp_path / "p.npy", np.zeros((3, 6, 8, 3), np.uint8))
    np.save(tmp_path / "m.npy", np.zeros((2, 6, 8), bool))
    np.save(tmp_path / "one.npy", np.zeros((6, 8, 3), np.uint8))
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    (tmp_path / "text.npy").write_text("not an array, but longer than a header")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "p.npy").read_bytes()[:-1])
    with (tmp_path / "zip.npy").open("wb") as stream:
        np.savez(stream, a=np.zeros(3))
    with pytest.raises(InputError, match=message):
        read_pixels(tmp_path / path, mask=mask)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("{", "line 1 is damaged"),
        (json.dumps(RECORD) + "\n\n[1]", "line 3 is not a record"),
        ('{"id": "a"}', "line 1: a triplet needs the texts id, .*: reference is not there"),
        (json.dumps({**RECORD, "text": 3}), "line 1: a triplet needs the texts .*: text is not there"),
        (json.dumps({**RECORD, "bbox": 3}), "line 1: triplet 1_recolour_dog: bbox or contrast_ids are no lists"),
        (json.dumps(RECORD) + "\n" + json.dumps(RECORD), "holds the id 1_recolour_dog twice"),
    ],
)
def test_damaged_sets_are_said(tmp_path, lines, message):
    (tmp_path / "triplets.jsonl").write_text(lines)
    with pytest.raises(InputError, match=message):
        read_triplets(tmp_path)


def test_no_set(tmp_path):
    with pytest.raises(InputError, match=r"is not a triplet set: it holds no triplets.jsonl"):
        read_triplets(tmp_path)
    with pytest.raises(InputError, match="is not a triplet set"):
        read_triplets(tmp_path / "file" / "below")
    (tmp_path / "triplets.jsonl").write_bytes(b"\xff\xff")
    with pytest.raises(InputError, match=r"triplets.jsonl cannot be read"):
        read_triplets(tmp_path)
