"""Masks on disk: made once, resumed, of the images and texts that are there."""

import numpy as np
import pytest
from cir_miniatures import draw_images, draw_product, write_fashioniq

from mmgrad_explain.data.cir.formats import read_cir
from mmgrad_explain.data.masks import cache
from mmgrad_explain.data.masks.cache import load_masks, make_masks
from mmgrad_explain.data.masks.settings import MaskSettings
from mmgrad_explain.errors import InputError

SETTINGS = MaskSettings(("difference", "segments"), size=16)


@pytest.fixture
def fashioniq(tmp_path):
    return draw_images("fashioniq", write_fashioniq(tmp_path))


def test_masks_are_made_once_and_only_what_is_missing_again(fashioniq, monkeypatch):
    data = read_cir("fashioniq", fashioniq, ["train"])
    parts = list(data.queries)
    monkeypatch.setattr(cache, "_TOGETHER", 3)
    with pytest.raises(InputError, match=r"masks of dress\.train are not made"):
        load_masks(data, parts, SETTINGS)
    made = make_masks(data, parts, SETTINGS)
    summary = made.summarize()
    assert (summary["captions"], summary["with a mask"], summary["by maker"]) == (12, 12, {"segments": 12})
    assert summary["not made"] == {"difference": {"reference and target are different photographs": 12}}
    before, after = made.read("dress.train", 3)
    assert before.shape == (16, 16)
    assert 0 < before.mean() < 1
    assert (before > 0).any()
    assert set(np.unique(after)) - {0.0, 1.0}  # soft
    again = []
    make = cache._make_chunk
    monkeypatch.setattr(cache, "_make_chunk", lambda *task: again.append(task[0].arrays.name) or make(*task))
    seen = []
    make_masks(data, parts, SETTINGS, progress=lambda *counts: seen.append(counts))
    assert (again, seen) == ([], [])
    next(made.folder.glob("shirt.train-00001.json")).write_text("{")
    draw_product("another").resize((91, 60)).save(fashioniq / "images" / "Bdresstrain0.jpg", quality=99)
    make_masks(data, parts, SETTINGS, progress=lambda *counts: seen.append(counts))
    assert again == ["dress.train-00000.npy", "shirt.train-00001.npy"]
    assert seen[-1] == (12, 12)
    assert load_masks(data, parts, SETTINGS).summarize()["captions"] == 12


def test_missing_images_are_counted_and_not_made_up(fashioniq, tmp_path):
    (fashioniq / "images" / "Bdresstrain1.jpg").unlink()
    (fashioniq / "images" / "Bdresstrain2.jpg").write_text("<html>")
    data = read_cir("fashioniq", fashioniq, ["train"], ["dress"])
    made = make_masks(data, ["dress.train"], SETTINGS, tmp_path / "elsewhere")
    assert made.summarize()["not made"] == {"images": {"an image is missing": 2, "an image cannot be read": 2}}
    assert not made.read("dress.train", 0).any()
    assert made.folder.parent == tmp_path / "elsewhere"
