"""Building a set: the same for every number of workers, resumable at any point, nothing lost, nothing overwritten."""

import json
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.edits import build as edits_module
from mmgrad_explain.data.edits.build import build_edits
from mmgrad_explain.data.edits.options import EditOptions, Making
from mmgrad_explain.data.edits.plan import measure_change
from mmgrad_explain.data.edits.worker import make_triplets, photo_keys
from mmgrad_explain.data.instances.readers import read_coco
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.errors import InputError, OutputExistsError

SIZE = 96
OPTIONS = EditOptions(size=64, edits_per_image=3, min_area=0.01, kinds=("recolour", "darken", "pattern", "add"))


@pytest.fixture(scope="session")
def coco_folder(tmp_path_factory):
    """Eight photographs with two or three boxes each; one file is damaged, one has no objects that are large enough."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "images" / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(8):
        name = f"sub/{number}.png" if number % 2 else f"{number}.jpg"
        pixels = rng.integers(100, 130, (SIZE, SIZE, 3)).astype(np.uint8)
        images.append(
            {"id": number, "file_name": name, "license": 1 + number % 2, "coco_url": f"http://x.org/{number}"}
        )
        for category, (left, top) in enumerate([(8, 10), (60, 20), (30, 62)][: 2 + number % 2]):
            width, height = (24, 28) if number != 5 else (3, 3)
            pixels[top : top + height, left : left + width] = rng.integers(0, 255, 3)
            box = [left, top, left + width, top, left + width, top + height, left, top + height]
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": category, "segmentation": [box]}
            )
        Image.fromarray(pixels).save(folder / "images" / name)
    (folder / "images" / "6.jpg").write_bytes(b"\xff\xd8\xff damaged")
    data = {
        "licenses": [{"id": 1, "name": "Attribution License", "url": "http://x.org/by"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    (folder / "instances.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="session")
def source(coco_folder):
    return read_coco(coco_folder / "images", coco_folder / "instances.json")


@pytest.fixture(scope="session")
def whole(source, tmp_path_factory):
    return build_edits(source, tmp_path_factory.mktemp("whole") / "set", OPTIONS)


def content(folder):
    """Every file that belongs to a set."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "journal.jsonl"
    }


def test_the_folder_is_a_triplet_set(whole):
    triplets = read_triplets(whole.folder)
    assert triplets == whole.triplets
    assert len(triplets) == whole.manifest["count"] == 18
    named = {path for t in triplets for path in (t.reference, t.target, t.mask)}
    assert set(content(whole.folder)) == named | {"triplets.jsonl", "manifest.json", "LICENSES.txt"}
    for t in triplets:
        reference, target, mask = t.pictures()
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


def test_licences_are_carried_along(whole):
    for t in whole.triplets:
        number = int(t.source_image.partition(".")[0].rpartition("/")[2])
        assert t.attribution == f"http://x.org/{number}"
        assert t.licence == ("" if number % 2 else "Attribution License")
    text = (whole.folder / "LICENSES.txt").read_text()
    assert "Attribution License http://x.org/by\n    0.jpg  http://x.org/0\n" in text
    assert "Licence not stated: find out before you share these\n    sub/1.png  http://x.org/1\n" in text


def test_contrast_partners_are_of_the_same_photograph_elsewhere(whole):
    by_id = {t.id: t for t in whole.triplets}
    pairs = [(t, by_id[other]) for t in whole.triplets for other in t.contrast_ids]
    assert len(pairs) > 10
    for t, other in pairs:
        assert t.source_image == other.source_image
        assert t.text != other.text
        assert t.id in other.contrast_ids
        assert not (t.pictures()[2] & other.pictures()[2]).any()


def test_folds_are_by_photograph(whole):
    folds = {t.source_image: t.fold for t in whole.triplets}
    assert all(folds[t.source_image] == t.fold for t in whole.triplets)
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


def test_workers_change_nothing(source, whole, tmp_path):
    again = build_edits(source, tmp_path / "set", OPTIONS, workers=2)
    assert content(again.folder) == content(whole.folder)


def test_a_smaller_set_is_the_beginning_and_can_be_made_larger(source, whole, tmp_path):
    small = build_edits(source, tmp_path / "set", OPTIONS, count=4)
    assert len(small.triplets) == 4
    assert [t.id for t in small.triplets] == [t.id for t in whole.triplets[:4]]
    assert {other for t in small.triplets for other in t.contrast_ids} <= {t.id for t in small.triplets}
    larger = build_edits(source, tmp_path / "set", OPTIONS, resume=True)
    assert content(larger.folder) == content(whole.folder)


def test_resuming_a_finished_set_changes_nothing(source, whole, tmp_path):
    build_edits(source, tmp_path / "set", OPTIONS)
    again = build_edits(source, tmp_path / "set", OPTIONS, resume=True, count=18)
    assert len(again.triplets) == 18


def test_another_seed_gives_another_set(source, whole, tmp_path):
    other = build_edits(source, tmp_path / "set", replace(OPTIONS, seed=1))
    assert [t.text for t in other.triplets] != [t.text for t in whole.triplets]


@pytest.mark.parametrize("photographs", [0, 1, 3])
def test_a_set_that_was_broken_off_is_finished(source, whole, tmp_path, photographs):
    class StopError(Exception):
        pass

    def stop(_, done):
        if done == photographs:
            raise StopError

    folder = tmp_path / "set"
    if photographs:
        with pytest.raises(StopError):
            build_edits(source, folder, OPTIONS, progress=stop)
        with (folder / "journal.jsonl").open("ab") as journal:
            journal.write(b'{"photo": "half a line')
    calls = []
    finished = build_edits(source, folder, OPTIONS, resume=True, progress=lambda *counts: calls.append(counts))
    assert len(calls) == 8 - photographs
    assert content(finished.folder) == content(whole.folder)


def test_a_lost_file_is_made_again(source, whole, tmp_path):
    folder = tmp_path / "set"
    built = build_edits(source, folder, OPTIONS)
    (folder / built.triplets[7].target).unlink()
    for name in ("targets", "masks"):
        assert (folder / name).is_dir()
    build_edits(source, folder, OPTIONS, resume=True)
    assert content(folder) == content(whole.folder)
    (folder / "journal.jsonl").unlink()
    build_edits(source, folder, OPTIONS, resume=True)
    assert content(folder) == content(whole.folder)


def test_other_options_are_not_mixed_in(source, tmp_path):
    build_edits(source, tmp_path / "set", OPTIONS, count=2)
    with pytest.raises(InputError, match="was built with size = 64, not 80: give the same options to resume"):
        build_edits(source, tmp_path / "set", replace(OPTIONS, size=80), resume=True)
    (tmp_path / "set" / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest.json is damaged, or of something else than a set: choose another"):
        build_edits(source, tmp_path / "set", OPTIONS, resume=True)


def test_nothing_is_overwritten_unasked(source, tmp_path):
    folder = tmp_path / "set"
    build_edits(source, folder, OPTIONS, count=2)
    with pytest.raises(OutputExistsError, match="is not empty: --resume goes on with it, --overwrite replaces it"):
        build_edits(source, folder, OPTIONS)
    (folder / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds notes.txt, which no build of a set has written: move it away"):
        build_edits(source, folder, OPTIONS, overwrite=True)
    (folder / "notes.txt").unlink()
    replaced = build_edits(source, folder, replace(OPTIONS, seed=1), count=3, overwrite=True)
    assert len(replaced.triplets) == 3
    other = tmp_path / "other"
    other.mkdir()
    (other / "triplets.jsonl").touch()
    with pytest.raises(OutputExistsError, match="is not empty: choose another folder"):
        build_edits(source, other, OPTIONS)
    with pytest.raises(InputError, match=r"other has no manifest.json, so it is not a set"):
        build_edits(source, other, OPTIONS, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is not a folder"):
        build_edits(source, tmp_path / "file", OPTIONS)


def test_no_triplet_at_all_is_an_error(source, tmp_path):
    with pytest.raises(InputError, match="not one triplet could be made of 8 photographs: object too small"):
        build_edits(source, tmp_path / "set", replace(OPTIONS, min_area=0.9, max_area=1.0))
    damaged = replace(source, photos=tuple(p for p in source.photos if p.name == "6.jpg"))
    with pytest.raises(InputError, match=r"not one triplet could be made of 1 photographs: .*6.jpg is truncated"):
        build_edits(damaged, tmp_path / "other", OPTIONS)
    with pytest.raises(InputError, match="of 0 photographs: no objects"):
        build_edits(replace(source, photos=()), tmp_path / "third", OPTIONS)


def test_trouble_on_the_way_is_said(source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(
            InputError, match=r"cannot write to .*: No space left on device: free some space, .*, then go on with"
        ):
            build_edits(source, tmp_path / "set", OPTIONS)

    class Broken:
        def __init__(self, *_):
            pass

        def submit(self, *_):
            raise BrokenProcessPool

        def shutdown(self, **_):
            pass

    monkeypatch.setattr(edits_module, "ProcessPoolExecutor", Broken)
    with pytest.raises(InputError, match="a worker was killed, maybe for memory: go on with --resume"):
        build_edits(source, tmp_path / "set", OPTIONS, resume=True, workers=2)


@pytest.mark.parametrize(("name", "value"), [("count", 0), ("workers", 0), ("workers", 300)])
def test_bad_numbers_are_named(source, tmp_path, name, value):
    with pytest.raises(InputError, match=f"{name} must be"):
        build_edits(source, tmp_path / "set", OPTIONS, **{name: value})
    assert not (tmp_path / "set").exists()


def test_pictures_may_be_png(source, tmp_path):
    making = Making(format="png", licence="CC0", folds=1, source="mine")
    built = build_edits(source, tmp_path / "set", OPTIONS, making=making, count=6)
    assert all(t.de_out == 0 for t in built.triplets)
    assert {t.licence for t in built.triplets} <= {"CC0", "Attribution License", ""}
    assert {t.source for t in built.triplets} == {"mine"}
    assert {t.fold for t in built.triplets} == {0}
    assert all(t.target.endswith(".png") for t in built.triplets)


def test_a_photograph_without_licence_gets_the_one_that_is_stated(source):
    photo = replace(next(p for p in source.photos if p.name == "0.jpg"), licence=None)
    records = make_triplets(photo, "k", OPTIONS, Making(licence="CC0")).records
    assert {record["license"] for record in records} == {"CC0"}
    assert all(record["id"].startswith("k_") for record in records)


def test_photographs_never_share_a_file_name():
    keys = photo_keys(["a.jpg", "b/a.jpg", "b-a.jpg", "a.png", "c d.jpg"])
    assert len(set(keys.values())) == 5
    assert keys["c d.jpg"] == "c-d"
    assert keys["a.jpg"].startswith("a-")


def test_damaged_annotations_are_said(source, tmp_path):
    photo = next(p for p in source.photos if p.name == "0.jpg")
    broken = replace(photo, labels=(*photo.labels, photo.labels[0]._replace(form=[[1, 2]])))
    built = build_edits(replace(source, photos=(broken,)), tmp_path / "set", OPTIONS)
    assert built.manifest["problems"]["damaged"] == {
        "count": 1, "first": ["0.jpg: dog: a polygon is not a list of at least three points x, y"],
    }  # fmt: skip


def test_a_worker_leaves_ctrl_c_to_the_main_process():
    import signal

    import cv2

    from mmgrad_explain.data.set_workers import prepare_worker

    before, threads = signal.getsignal(signal.SIGINT), cv2.getNumThreads()
    try:
        prepare_worker()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert cv2.getNumThreads() == 1
    finally:
        signal.signal(signal.SIGINT, before)
        cv2.setNumThreads(threads)


def test_packages_that_are_not_there_are_left_out(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    from mmgrad_explain.data.edits import manifest as edit_manifest

    def version(package):
        if package.startswith("opencv"):
            raise PackageNotFoundError(package)
        return "1.2"

    monkeypatch.setattr(edit_manifest, "version", version)
    assert edit_manifest._versions().keys() == {"mmgrad_explain", "python", "numpy", "pillow"}


def test_long_names_fit_into_the_name_of_a_file():
    names = ["é" * 120 + "a.jpg", "é" * 120 + "b.jpg", "folder/" * 60 + "c.jpg", "\udce9.jpg"]
    keys = photo_keys(names)
    assert len(set(keys.values())) == len(names)
    assert all(len(key.encode()) <= 130 for key in keys.values())
