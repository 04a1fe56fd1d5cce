"""The drawing of maps over time."""

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.logging.map_grid import MapGrid, choose_rows

PICTURES = np.full((2, 32, 32, 3), 120, np.uint8)


def grid():
    return MapGrid(PICTURES, ["make it red", "remove the star"])


def test_a_row_a_sample_a_column_a_step(tmp_path):
    made = grid()
    heat = np.zeros((2, 4, 4), np.float32)
    heat[0, 0, 0] = 7
    made.add(10, heat)
    one = made.draw()
    made.add(20, heat)
    two = made.draw()
    assert two.width > one.width
    assert two.height == one.height
    made.save(tmp_path / "maps.png", tmp_path / "maps.npz")
    with Image.open(tmp_path / "maps.png") as picture:
        assert picture.size == two.size


def test_many_steps_are_thinned_to_first_and_last(monkeypatch):
    made = grid()
    for step in range(40):
        made.add(step, np.ones((2, 2, 2), np.float32))
    captions = []
    from mmgrad_explain.training.logging import map_grid as module

    real = module.panel
    monkeypatch.setattr(module, "panel", lambda tiles, texts, **o: captions.append(texts) or real(tiles, texts, **o))
    made.draw()
    assert len(captions[0]) == 11
    assert captions[0][:2] == ["make it red", "step 0"]
    assert captions[1][-1] == "step 39"


def test_going_on(tmp_path):
    made = grid()
    for step in (10, 20, 30):
        made.add(step, np.full((2, 2, 2), step, np.float32))
    made.save(tmp_path / "maps.png", tmp_path / "maps.npz")
    later = grid()
    later.load(tmp_path / "none.npz", until=20)
    assert later.steps == []
    later.load(tmp_path / "maps.npz", until=20)
    assert later.steps == [10, 20]
    (tmp_path / "maps.npz").write_bytes(b"no")
    with pytest.raises(InputError, match=r"maps.npz cannot be read"):
        grid().load(tmp_path / "maps.npz", until=9)


def test_before_any_step_the_grid_shows_the_images():
    assert grid().draw().width > 100


def test_the_latest_maps_and_the_masks():
    made = grid()
    assert made.latest is None
    assert made.masks == [None, None]
    for step in (10, 20):
        made.add(step, np.full((2, 2, 2), step, np.float32))
    assert (made.latest == 1).all()
    masks = [np.ones((32, 32), bool), None]
    assert MapGrid(PICTURES, ["a", "b"], masks).masks == masks


def test_the_grid_shows_two_texts_of_each_image():
    assert choose_rows([0, 0, 0, 1, 1, 1, 2], 5) == [0, 1, 3, 4, 6]
    assert choose_rows([0, 0, 0, 1, 1, 1, 2], 3) == [0, 1, 3]
