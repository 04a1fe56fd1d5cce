"""Rows and columns of tiles that Idefics3 cuts an image into."""

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.generative.families.idefics3 import tiles_by_size
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).parents[1] / "small_models.py")
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)


@pytest.mark.parametrize("turned", [False, True])
def test_longest_sides_have_a_limit(turned):
    image = Image.new("RGB", (60, 100) if turned else (100, 60))
    processor = small.processor("idefics3", size={"longest_edge": 6000}, max_image_size={"longest_edge": 2048})
    tiles = small.FAMILIES["idefics3"].tiles_of(processor, image, {"pixel_values": torch.zeros(1, 5, 1)})["tiles"]
    assert tiles.tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("size", "tiles"), [((60, 90), (2, 3)), ((90, 60), (3, 2)), ((50, 90), (2, 3)), ((90, 31), (3, 2))]
)
def test_rows_and_columns_follow_from_the_size(size, tiles):
    """Of (height, width) pixels, resized to a longest edge of 90 and cut into tiles of 32."""
    parts = torch.zeros(1, tiles[0] * tiles[1] + 1, 3, 32, 32)
    assert tiles_by_size(small.processor("idefics3"), size, {"pixel_values": parts}) == tiles


def test_one_part_is_one_tile():
    parts = torch.zeros(1, 1, 3, 32, 32)
    assert tiles_by_size(small.processor("idefics3"), (60, 90), {"pixel_values": parts}) == (1, 1)


def test_another_number_of_parts_is_refused():
    with pytest.raises(InputError, match="in 4 parts, its size asks for 2 x 3 tiles and the whole"):
        tiles_by_size(small.processor("idefics3"), (60, 90), {"pixel_values": torch.zeros(1, 4, 3, 32, 32)})
