"""Sets of edited photographs: what is in them, and what their manifests and licences say."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mmgrad_explain.data.edits.build import build_edits
from mmgrad_explain.data.edits.options import EditOptions, OutputOptions
from mmgrad_explain.data.edits.plan import measure_change
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.errors import InputError

OPTIONS = EditOptions(size=64, edits_per_image=3, min_area=0.01, kinds=("recolour", "darken", "pattern", "add"))


@pytest.fixture(scope="session")
def whole(source, tmp_path_factory):
    return build_edits(source, tmp_path_factory.mktemp("whole") / "set", OPTIONS)


@pytest.fixture(scope="session")
def triplets(whole):
    return read_triplets(whole.folder)


def content(folder):
    """Every file that belongs to a set."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "journal.jsonl"
    }


def test_the_folder_is_a_triplet_set(whole, triplets):
    assert len(triplets) == whole.manifest["count"] == 18
    named = {path for t in triplets for path in (t.reference, t.target, t.mask)}
    assert set(content(whole.folder)) == named | {"triplets.jsonl", "manifest.json", "LICENSES.txt"}
    for t in triplets:
        reference, target, mask = t.read_images()
        assert mask.shape == (t.height, t.width) == (64, 64)
        rows, columns = np.nonzero(mask)
        left, top, width, height = t.bbox
        assert (columns.min(), rows.min()) == (left, top)
        assert (columns.max() + 1 - left, rows.max() + 1 - top) == (width, height)
        assert t.area_frac == pytest.approx(mask.mean(), abs=1e-4)
        change = measure_change(reference, target, mask, t.dilate_px)
        assert t.de_in == pytest.approx(change.de_in, abs=0.3)
        assert t.de_in > 5
        assert t.de_out < 1
        assert t.mask_object_in == ("target" if t.edit == "add" else "both")
        assert t.source == "COCO instances, instances.json"


def test_licences_are_carried_along(whole, triplets):
    for t in triplets:
        number = int(t.source_image.partition(".")[0].rpartition("/")[2])
        assert t.attribution == f"http://x.org/{number}"
        assert t.licence == ("" if number % 2 else "Attribution License")
    text = (whole.folder / "LICENSES.txt").read_text()
    assert "Attribution License http://x.org/by\n    0.jpg  http://x.org/0\n" in text
    assert "Licence not stated: find out before you share these\n    sub/1.png  http://x.org/1\n" in text


def test_contrast_partners_are_of_the_same_photograph_elsewhere(triplets):
    by_id = {t.id: t for t in triplets}
    pairs = [(t, by_id[other]) for t in triplets for other in t.contrast_ids]
    assert len(pairs) > 10
    for t, other in pairs:
        assert t.source_image == other.source_image
        assert t.text != other.text
        assert t.id in other.contrast_ids
        assert not (t.read_images()[2] & other.read_images()[2]).any()


def test_folds_are_by_photograph(triplets):
    folds = {t.source_image: t.fold for t in triplets}
    assert all(folds[t.source_image] == t.fold for t in triplets)
    assert set(folds.values()) <= set(range(5))
    assert len(set(folds.values())) > 1


def test_the_manifest_says_what_was_left_out(whole):
    manifest = json.loads((whole.folder / "manifest.json").read_text())
    assert manifest == json.loads(json.dumps(whole.manifest))
    assert manifest["complete"] is True
    assert manifest["photographs"] == {"in the data set": 8, "tried": 8, "used": 6}
    assert manifest["skipped"]["object too small"] == 3
    assert manifest["skipped"]["photograph without an edit"] == 1
    damaged = manifest["problems"]["damaged"]
    assert damaged["count"] == 1
    assert damaged["first"][0].startswith("6.jpg: ")
    assert "is truncated or damaged" in damaged["first"][0]
    assert manifest["options"]["kinds"] == list(OPTIONS.kinds)
    assert {"mmgrad_explain", "numpy", "python"} <= set(manifest["versions"])
    assert sum(manifest["edits"].values()) == manifest["count"]
    assert manifest["licences"].keys() == {"Attribution License", "not stated"}


def test_another_seed_gives_another_set(source, triplets, tmp_path):
    other = build_edits(source, tmp_path / "set", replace(OPTIONS, seed=1))
    assert [t.text for t in read_triplets(other.folder)] != [t.text for t in triplets]


def test_other_options_are_not_mixed_in(source, tmp_path):
    build_edits(source, tmp_path / "set", OPTIONS, count=2)
    with pytest.raises(InputError, match="was built with size = 64, not 80: give the same options to resume"):
        build_edits(source, tmp_path / "set", replace(OPTIONS, size=80), resume=True)


def test_a_photograph_that_occurs_twice_is_named(source, tmp_path):
    twice = replace(source, photos=(*source.photos, source.photos[3]))
    with pytest.raises(InputError, match=r"instances.json holds the photograph 6.jpg twice"):
        build_edits(twice, tmp_path / "set", OPTIONS)
    assert not (tmp_path / "set").exists()


def test_no_triplet_at_all_is_an_error(source, tmp_path):
    with pytest.raises(InputError, match="not one triplet could be made of 8 photographs: object too small"):
        build_edits(source, tmp_path / "set", replace(OPTIONS, min_area=0.9, max_area=1.0))
    damaged = replace(source, photos=tuple(p for p in source.photos if p.name == "6.jpg"))
    with pytest.raises(InputError, match=r"not one triplet could be made of 1 photographs: .*6.jpg is truncated"):
        build_edits(damaged, tmp_path / "other", OPTIONS)
    with pytest.raises(InputError, match="of 0 photographs: no objects"):
        build_edits(replace(source, photos=()), tmp_path / "third", OPTIONS)


def test_pictures_may_be_png(source, tmp_path):
    output = OutputOptions(format="png", licence="CC0", folds=1, source="mine")
    built = build_edits(source, tmp_path / "set", OPTIONS, output=output, count=6)
    triplets = read_triplets(built.folder)
    assert all(t.de_out == 0 for t in triplets)
    assert {t.licence for t in triplets} <= {"CC0", "Attribution License", ""}
    assert {t.source for t in triplets} == {"mine"}
    assert {t.fold for t in triplets} == {0}
    assert all(t.target.endswith(".png") for t in triplets)


def test_damaged_annotations_are_said(source, tmp_path):
    photo = next(p for p in source.photos if p.name == "0.jpg")
    broken = replace(photo, labels=(*photo.labels, photo.labels[0]._replace(form=[[1, 2]])))
    built = build_edits(replace(source, photos=(broken,)), tmp_path / "set", OPTIONS)
    assert built.manifest["problems"]["damaged"] == {
        "count": 1, "first": ["0.jpg: dog: a polygon is not a list of at least three points x, y"],
    }  # fmt: skip
