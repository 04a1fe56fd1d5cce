"""Sets of generated scenes: what is in them, and their options."""

import json

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.data.scenes import build as scene_sets
from mmgrad_explain.data.scenes.build import build_scenes
from mmgrad_explain.data.scenes.scene import scenes
from mmgrad_explain.data.scenes.set_options import SceneSetOptions
from mmgrad_explain.data.triplets import read_triplets
from mmgrad_explain.errors import InputError

SMALL = SceneSetOptions(seed=3, size=32)


@pytest.fixture(scope="module", autouse=True)
def _five_scenes_a_line():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scene_sets, "_SCENES_A_TASK", 5)
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
        reference, target, mask = triplet.read_images()
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
            assert not (other.read_images()[2] & t.read_images()[2]).any()


def test_manifest_counts(whole):
    manifest = json.loads((whole.folder / "manifest.json").read_text())
    assert manifest == whole.manifest
    assert manifest["complete"]
    assert manifest["count"] == sum(manifest["edits"].values()) == sum(manifest["named by"].values()) == 42
    assert manifest["scenes"] == 11
    assert manifest["options"]["seed"] == 3


def test_other_options_are_not_mixed_in(tmp_path):
    out = tmp_path / "set"
    build_scenes(out, 4, SMALL)
    with pytest.raises(InputError, match=r"was built with size = 32, not 40: give the same options"):
        build_scenes(out, 4, SceneSetOptions(seed=3, size=40), resume=True)
    with pytest.raises(InputError, match=r"was built with places = 0.3, not 0.5: give the same options"):
        build_scenes(out, 4, SceneSetOptions(seed=3, size=32, places=0.5), resume=True)
    built = build_scenes(out, 4, SceneSetOptions(seed=4, size=40, format="jpg"), overwrite=True)
    assert {p.suffix for p in (out / "targets").iterdir()} == {".jpg"}
    reference = read_triplets(out)[0].read_images()[0]
    drawn = next(scenes(4, 1, size=40)).reference
    assert np.abs(reference.astype(float) - drawn).mean() < 6
    assert built.manifest["options"]["format"] == "jpg"


def test_backdrops_are_read_from_files(tmp_path):
    Image.new("RGB", (60, 50), (200, 180, 90)).save(tmp_path / "sand.png")
    options = SceneSetOptions(seed=1, size=32, backdrops=(str(tmp_path / "sand.png"),))
    build_scenes(tmp_path / "set", 4, options)
    corner = read_triplets(tmp_path / "set")[0].read_images()[0]
    drawn = next(scenes(1, 1, size=32, options=options.scene_options())).reference
    assert np.array_equal(corner, drawn)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "gif"}, "format must be 'png', 'jpg' or 'npy', got 'gif'"),
        ({"size": 20}, "size must be between 32 and 512"),
        ({"seed": -1}, "seed must not be negative"),
        ({"objects": (0, 4)}, "objects must be two numbers"),
        ({"relations": 1.5}, "relations and places are shares of the descriptions and at most 1 together"),
        ({"backdrops": ("nowhere.png",)}, "nowhere.png"),
    ],
)
def test_bad_options_come_before_the_folder(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        build_scenes(tmp_path / "set", 4, SceneSetOptions(**options))
    assert not (tmp_path / "set").exists()
