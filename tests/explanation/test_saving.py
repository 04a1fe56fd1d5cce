"""Explanations are saved completely or not at all."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.explanation import saving
from mmgrad_explain.images import saving as image_saving
from mmgrad_explain.images.placement import Placement


def test_everything_is_there(with_pictures, tmp_path):
    folder = with_pictures.save(tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "maps.npz",
        "overlay_0000.png",
        "overlay_0001.png",
    ]
    arrays = np.load(folder / "maps.npz", allow_pickle=False)
    assert np.array_equal(arrays["maps"], with_pictures.maps.numpy())
    assert np.array_equal(arrays["maps_call1"], with_pictures.calls[1].numpy())
    assert np.array_equal(arrays["signed/tower.body/0"], with_pictures.signed["tower.body"][0].numpy())
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == json.loads(json.dumps(with_pictures.manifest()))
    assert manifest["texts"] == ["make it red", "schöner"]
    assert manifest["score"] == [0.5, 0.25]
    assert manifest["layers"] == {"tower.body": [[2, 4, 6], [2, 2, 3]]}
    assert Placement.from_dict(manifest["placements"][0]) == with_pictures.placements[0]
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing is left beside it"
    assert folder.stat().st_mode & 0o777 == 0o755


def test_without_images(explanation, tmp_path):
    folder = explanation.save(str(tmp_path / "out"))
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "maps.npz"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["layouts"] == {"tower.body": ["nchw", "nchw"]}
    assert manifest["fuse"] == "mean"


def test_an_existing_folder_is_refused(explanation, tmp_path):
    explanation.save(tmp_path / "out")
    before = (tmp_path / "out" / "maps.npz").read_bytes()
    with pytest.raises(OutputExistsError, match="exists; choose another one or pass overwrite=True"):
        replace(explanation, score_name="other").save(tmp_path / "out")
    assert (tmp_path / "out" / "maps.npz").read_bytes() == before
    replace(explanation, score_name="other").save(tmp_path / "out", overwrite=True)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["score_name"] == "other"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_somebody_elses_folder_is_never_replaced(explanation, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match="holds something else than a saved explanation and is not replaced"):
        explanation.save(tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    explanation.save(tmp_path / "empty", overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputExistsError, match="is not replaced"):
        explanation.save(tmp_path / "file", overwrite=True)


@pytest.mark.parametrize("manifest", [{"complete": True, "options": {}}, {"manifest_version": 3}, []])
def test_a_manifest_of_something_else_is_none_of_an_explanation(explanation, tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(OutputExistsError, match="holds something else than a saved explanation"):
        explanation.save(tmp_path, overwrite=True)
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest


@pytest.mark.parametrize("name", ["notes.txt", "overlay_0000.psd", "more"])
def test_what_was_put_beside_an_explanation_stays(with_pictures, tmp_path, name):
    folder = with_pictures.save(tmp_path / "out")
    (folder / name).mkdir() if name == "more" else (folder / name).write_text("mine")
    with pytest.raises(OutputExistsError, match=f"is not replaced: {name}"):
        with_pictures.save(folder, overwrite=True)
    assert (folder / name).exists()


def test_a_link_to_a_folder_stays_a_link(explanation, tmp_path):
    explanation.save(tmp_path / "out")
    (tmp_path / "link").symlink_to("out")
    replace(explanation, score_name="other").save(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["score_name"] == "other"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "link"}


@pytest.mark.parametrize("step", ["picture", "manifest"])
def test_a_failure_leaves_what_was_there(with_pictures, tmp_path, monkeypatch, step):
    with_pictures.save(tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    if step == "picture":
        monkeypatch.setattr(image_saving, "safe_save", fail)
    else:
        monkeypatch.setattr(saving, "json", SimpleNamespace(dumps=fail, loads=json.loads))
    with pytest.raises(InputError, match=r"out cannot be written \(No space left on device\)"):
        with_pictures.save(tmp_path / "out", overwrite=True)
    with pytest.raises(InputError, match="cannot be written"):
        with_pictures.save(tmp_path / "new")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_while_the_folders_are_exchanged(explanation, tmp_path, monkeypatch):
    explanation.save(tmp_path / "out")
    plain = type(tmp_path).replace
    moves = []

    def replacing(self, goal):
        moves.append(self.name)
        if len(moves) == 2:
            raise OSError(13, "Permission denied")
        return plain(self, goal)

    monkeypatch.setattr(type(tmp_path), "replace", replacing)
    with pytest.raises(InputError, match="Permission denied"):
        explanation.save(tmp_path / "out", overwrite=True)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["score_name"] == "pair"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nowhere_to_write(explanation, tmp_path):
    with pytest.raises(InputError, match=r"folder: .*missing/out cannot be written \(No such file or directory\)"):
        explanation.save(tmp_path / "missing" / "out")


def test_one_samples_arrays(with_pictures, tmp_path):
    with_pictures.save_arrays(tmp_path / "one.npz", 1)
    arrays = np.load(tmp_path / "one.npz", allow_pickle=False)
    assert sorted(arrays) == ["heatmap", "map", "score", "target_heatmap", "target_map"]
    assert np.array_equal(arrays["heatmap"], with_pictures.heatmap(1))
    assert arrays["score"] == np.float32(0.25)
    with pytest.raises(OutputExistsError):
        with_pictures.save_arrays(tmp_path / "one.npz", 1)
