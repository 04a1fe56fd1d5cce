"""Models that see an image as tiles and then as a whole."""

from types import SimpleNamespace

import pytest
import torch

from mmgrad_explain.attention.layouts.layout import to_grid
from mmgrad_explain.composers.generative.shuffled_tiles import check_tile_count, place_in_tiles, shuffled_tiles_layout
from mmgrad_explain.errors import InputError


def test_tiles_and_the_whole_are_all_parts():
    assert check_tile_count((2, 3), 7) == (2, 3)
    with pytest.raises(
        InputError, match="in 4 parts, its size asks for 2 x 3 tiles and the whole: where the parts lie"
    ):
        check_tile_count((2, 3), 4)


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"longest_edge": 90}, "max_image_size": {"longest_edge": 32}},
        {"size": {"height": 32, "width": 32}},
    ],
)
def test_the_image_is_stretched_to_whole_tiles(settings):
    placement = place_in_tiles(SimpleNamespace(**settings), (60, 90), {"tiles": torch.tensor([[2, 3]])})
    assert placement.input == (64, 96)
    assert placement.scale == (64 / 60, 96 / 90)


def layout_of(layer, tiles, **options):
    vision = SimpleNamespace(image_size=8, patch_size=2)
    config = SimpleNamespace(vision_config=vision, image_token_id=9, **options)
    tensors = {"tiles": torch.tensor([tiles]), "input_ids": torch.tensor([[1]])}
    return shuffled_tiles_layout(SimpleNamespace(config=config), layer, tensors)


@pytest.mark.parametrize("options", [{"scale_factor": 2}, {"downsample_ratio": 0.5}])
@pytest.mark.parametrize(("layer", "side"), [("connector", 2), ("vision_model.encoder.layers.0", 4)])
def test_several_patches_make_a_token_from_the_connector_on(options, layer, side):
    assert layout_of(layer, (1, 3), **options).name == f"{side} x {3 * side} cells and {side} x {side} of the whole"
    assert layout_of(layer, (1, 1), **options).name == f"{side} x {side} cells"


def test_the_whole_comes_last_and_is_spread_over_the_tiles():
    layout = layout_of("connector", (1, 2), scale_factor=2)
    tokens = torch.zeros(3, 4, 1)
    tokens[2, 0] = 2.0  # the upper left cell of the whole
    tokens[1, 3] = 1.0  # the lower right cell of the second tile
    assert layout.fold(to_grid(tokens, layout).sum(1))[0].tolist() == [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
