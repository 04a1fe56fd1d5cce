"""A folder of labelled photographs."""

import json

from PIL import Image

from mmgrad_explain.training.sources import photo_folder as module
from mmgrad_explain.training.sources.photo_folder import PhotoFolder


def test_large_photographs_are_shrunk_and_few_are_kept(tmp_path, monkeypatch):
    for name in ("photos", "labels"):
        (tmp_path / name).mkdir()
    (tmp_path / "labels.json").write_text(json.dumps(["null", "coat"]))
    for number in range(3):
        Image.new("RGB", (900, 300), "red").save(tmp_path / "photos" / f"{number}.jpg")
        Image.new("L", (900, 300), 1).save(tmp_path / "labels" / f"{number}.png")
    monkeypatch.setattr(module, "_CACHED", 2)
    photos = PhotoFolder(tmp_path)
    for index in (0, 1, 0, 2):
        photo, labels = photos[index]
        assert photo.shape == (213, 640, 3)
        assert labels.shape == (213, 640)
    assert list(photos._cache) == [0, 2]
