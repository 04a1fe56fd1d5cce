"""Triplet sets of scenes on disk: the same however they come about, and never half a set."""

import json
import os
import signal

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.scenes import build as scene_sets
from mmgrad_explain.data.scenes import files as scene_files
from mmgrad_explain.data.scenes.build import build_scenes
from mmgrad_explain.data.scenes.files import SceneSetOptions
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.data.set_workers import prepare_worker
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.errors import InputError, OutputExistsError

SMALL = SceneSetOptions(seed=3, size=32)


def _content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module", autouse=True)
def _five_scenes_a_line():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scene_sets, "_CHUNK", 5)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "whole"
    return build_scenes(folder, 42, SMALL)


def test_the_set_holds_the_scenes(whole):
    triplets = read_triplets(whole.folder)
    assert len(triplets) == 42
    assert whole.made == 42
    drawn = [(scene, t) for scene in scenes(3, 11, size=32) for t in scene.triplets]
    for triplet, (scene, t) in zip(triplets, drawn, strict=False):
        reference, target, mask = triplet.pictures()
        assert np.array_equal(reference, scene.reference)
        assert np.array_equal(target, t.target)
        assert np.array_equal(mask, t.reference_mask)
        second = np.asarray(Image.open(whole.folder / triplet.other["target_mask"])) >= 128
        assert np.array_equal(second, t.target_mask)
        assert (triplet.text, triplet.edit, triplet.phrase) == (t.text, t.edit, t.subject)
        x, y, w, h = triplet.bbox
        assert t.reference_mask[y : y + h, x : x + w].sum() == t.reference_mask.sum()
        assert triplet.area_frac == pytest.approx(t.reference_mask.mean(), abs=1e-4)
        assert triplet.mask_object_in == {"add": "target", "remove": "reference"}.get(t.edit, "both")
        assert triplet.n_instances >= 1
        assert set(triplet.class_name.split(" and ")) == {o.shape for o in t.objects}


def test_records_measure_the_change(whole):
    triplets = read_triplets(whole.folder)
    assert all(t.de_in > t.de_out for t in triplets)
    assert np.mean([t.de_in > 3 * t.de_out for t in triplets]) > 0.8
    assert np.mean([t.changed_in for t in triplets]) > 0.7
    recoloured = [t for t in triplets if t.edit == "recolour"]
    assert np.mean([t.mean_shift for t in recoloured]) > 30


def test_contrast_partners_are_in_the_set(whole):
    triplets = {t.id: t for t in read_triplets(whole.folder)}
    assert sum(bool(t.contrast_ids) for t in triplets.values()) > 20
    for t in triplets.values():
        for other in map(triplets.get, t.contrast_ids):
            assert other.reference == t.reference
            assert not (other.pictures()[2] & t.pictures()[2]).any()


def test_manifest_counts(whole):
    manifest = json.loads((whole.folder / "manifest.json").read_text())
    assert manifest == whole.manifest
    assert manifest["complete"]
    assert manifest["count"] == sum(manifest["edits"].values()) == sum(manifest["named by"].values()) == 42
    assert manifest["scenes"] == 11
    assert manifest["options"]["seed"] == 3


def test_workers_do_not_show(whole, tmp_path):
    built = build_scenes(tmp_path / "two", 42, SMALL, workers=2)
    assert _content(built.folder) == _content(whole.folder)


def test_fewer_are_the_beginning_of_more_and_resuming_leads_there(whole, tmp_path):
    steps = []
    built = build_scenes(tmp_path / "set", 22, SMALL, progress=steps.append)
    assert steps == [20, 22]
    before = _content(built.folder)
    lines = (whole.folder / "triplets.jsonl").read_bytes().splitlines()[:20]  # the sixth scene is cut
    assert before["triplets.jsonl"].splitlines()[:20] == lines
    assert set(before) - set(_content(whole.folder)) == set()
    again = build_scenes(tmp_path / "set", 22, SMALL, resume=True, progress=steps.append)
    assert again.made == 0
    assert steps == [20, 22]
    assert _content(built.folder) == before
    build_scenes(tmp_path / "set", 42, SMALL, resume=True)
    assert _content(built.folder) == _content(whole.folder)
    build_scenes(tmp_path / "set", 22, SMALL, resume=True)
    assert _content(built.folder) == before


def test_broken_off_and_resumed(whole, tmp_path, monkeypatch):
    out = tmp_path / "set"
    write = scene_files.write_scenes

    def breaks(folder, options, start, stop):
        if start == 5:
            write(folder, options, start, start + 3)
            raise KeyboardInterrupt
        return write(folder, options, start, stop)

    monkeypatch.setattr(scene_sets, "write_scenes", breaks)
    with pytest.raises(KeyboardInterrupt):
        build_scenes(out, 42, SMALL)
    assert not (out / "triplets.jsonl").exists()
    assert not json.loads((out / "manifest.json").read_text())["complete"]
    monkeypatch.undo()
    next((out / "targets").iterdir()).unlink()  # lost since
    with (out / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"scenes": [5,')
    built = build_scenes(out, 42, SMALL, resume=True)
    assert built.made == 42  # what was lost, what was broken off, and the rest
    got, expected = _content(out), _content(whole.folder)
    assert sorted(got.pop("journal.jsonl").splitlines()) == sorted(expected.pop("journal.jsonl").splitlines())
    assert got == expected


def test_a_set_that_is_older_than_an_option_goes_on(tmp_path):
    build_scenes(tmp_path, 4, SMALL)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["options"]["places"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert build_scenes(tmp_path, 4, SMALL, resume=True).manifest["options"]["places"] == 0.3


def test_a_journal_that_is_gone_is_made_again(whole, tmp_path):
    build_scenes(tmp_path, 20, SMALL)
    (tmp_path / "journal.jsonl").unlink()
    assert build_scenes(tmp_path, 20, SMALL, resume=True).made == 20


def test_nothing_is_replaced_unasked(tmp_path):
    out = tmp_path / "set"
    build_scenes(out, 4, SMALL)
    with pytest.raises(OutputExistsError, match="is not empty: --resume goes on with it, --overwrite replaces it"):
        build_scenes(out, 4, SMALL)
    with pytest.raises(InputError, match=r"was built with size = 32, not 40: give the same options"):
        build_scenes(out, 4, SceneSetOptions(seed=3, size=40), resume=True)
    with pytest.raises(InputError, match=r"was built with places = 0.3, not 0.5: give the same options"):
        build_scenes(out, 4, SceneSetOptions(seed=3, size=32, places=0.5), resume=True)
    built = build_scenes(out, 4, SceneSetOptions(seed=4, size=40, format="jpg"), overwrite=True)
    assert {p.suffix for p in (out / "targets").iterdir()} == {".jpg"}
    reference = read_triplets(out)[0].pictures()[0]
    drawn = next(scenes(4, 1, size=40)).reference
    assert np.abs(reference.astype(float) - drawn).mean() < 6
    assert built.manifest["options"]["format"] == "jpg"


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is not empty: choose another folder"):
        build_scenes(tmp_path, 4, SMALL)
    with pytest.raises(InputError, match=r"has no manifest.json, so it is not a set"):
        build_scenes(tmp_path, 4, SMALL, overwrite=True)
    (tmp_path / "notes.txt").rename(tmp_path / "triplets.jsonl")
    with pytest.raises(InputError, match=r"has no manifest.json, so it is not a set"):
        build_scenes(tmp_path, 4, SMALL, resume=True)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match=r"manifest.json is damaged, or of something else than a set: choose another"):
        build_scenes(tmp_path, 4, SMALL, resume=True)
    assert (tmp_path / "triplets.jsonl").read_text() == "mine"


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    class Full:
        def tell(self):
            raise OSError(28, "No space left on device")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    with monkeypatch.context() as patched:
        patched.setattr(scene_sets, "_open_journal", lambda _: Full())
        with pytest.raises(InputError, match=r"No space left on device: free some space, .*, then --resume"):
            build_scenes(tmp_path / "a", 4, SMALL)
    with pytest.raises(InputError, match=r"cannot write to .*: No such file"):
        scene_files.write_scenes(tmp_path / "missing", SMALL, 0, 1)


class _Dying:
    """Whoever unpickles it is gone."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_killed_worker_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(scene_sets, "write_scenes", _Dying())
    with pytest.raises(InputError, match="a worker was killed, maybe for memory: go on with --resume"):
        build_scenes(tmp_path / "set", 42, SMALL, workers=2)


def test_workers_leave_the_stop_key_to_the_command(monkeypatch):
    calls = []
    monkeypatch.setattr(signal, "signal", lambda *call: calls.append(call))
    prepare_worker()
    assert calls == [(signal.SIGINT, signal.SIG_IGN)]


def test_backdrops_are_read_from_files(tmp_path):
    Image.new("RGB", (60, 50), (200, 180, 90)).save(tmp_path / "sand.png")
    options = SceneSetOptions(seed=1, size=32, backdrops=(str(tmp_path / "sand.png"),))
    build_scenes(tmp_path / "set", 4, options)
    corner = read_triplets(tmp_path / "set")[0].pictures()[0]
    drawn = next(scenes(1, 1, size=32, options=options.scene_options())).reference
    assert np.array_equal(corner, drawn)


@pytest.mark.parametrize(
    ("count", "options", "more", "message"),
    [
        (0, {}, {}, "count must be at least 1, got 0"),
        (4, {}, {"workers": 0}, "workers must be between 1 and 256, got 0"),
        (4, {"format": "gif"}, {}, "format must be 'png', 'jpg' or 'npy', got 'gif'"),
        (4, {"size": 20}, {}, "size must be between 32 and 512"),
        (4, {"seed": -1}, {}, "seed must not be negative"),
        (4, {"objects": (0, 4)}, {}, "objects must be two numbers"),
        (4, {"relations": 1.5}, {}, "relations and places are shares of the descriptions and at most 1 together"),
        (4, {"backdrops": ("nowhere.png",)}, {}, "nowhere.png"),
    ],
)
def test_bad_options_come_before_the_folder(tmp_path, count, options, more, message):
    with pytest.raises(InputError, match=message):
        build_scenes(tmp_path / "set", count, SceneSetOptions(**options), **more)
    assert not (tmp_path / "set").exists()
