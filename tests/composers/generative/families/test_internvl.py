"""Rows and columns of tiles that InternVL stretches an image to."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmgrad_explain.composers.generative.families.internvl import tiles_by_shape
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).parents[1] / "small_models.py")
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)


@pytest.mark.parametrize(
    ("size", "tiles"), [((60, 90), (2, 3)), ((90, 60), (3, 2)), ((30, 120), (1, 4)), ((120, 30), (4, 1))]
)
def test_rows_and_columns_follow_from_the_shape(size, tiles):
    parts = torch.zeros(tiles[0] * tiles[1] + 1, 3, 32, 32)
    assert tiles_by_shape(small.processor("internvl"), size, {"pixel_values": parts}) == tiles


def test_one_part_is_one_tile():
    parts = torch.zeros(1, 3, 32, 32)
    assert tiles_by_shape(small.processor("internvl"), (60, 90), {"pixel_values": parts}) == (1, 1)


def test_another_number_of_parts_is_refused():
    with pytest.raises(InputError, match="in 4 parts, its size asks for 2 x 3 tiles and the whole"):
        tiles_by_shape(small.processor("internvl"), (60, 90), {"pixel_values": torch.zeros(4, 3, 32, 32)})
