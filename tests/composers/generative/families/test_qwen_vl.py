"""The patches of Qwen-VL: blocks of a merger, sorted into windows inside the vision tower of Qwen2.5-VL."""

from types import SimpleNamespace

import pytest
import torch

from mmgrad_explain.attention.layouts.layout import to_grid
from mmgrad_explain.composers.generative.families.qwen_vl import packed_layout, place_in_patches
from mmgrad_explain.errors import InputError

IMAGE = 9
VISION = {"spatial_merge_size": 2, "patch_size": 4}


def model(**windows):
    return SimpleNamespace(
        config=SimpleNamespace(vision_config=SimpleNamespace(**VISION, **windows), image_token_id=IMAGE)
    )


def tensors(rows, columns, images=1):
    return {
        "image_grid_thw": torch.tensor([[1, rows, columns]] * images),
        "input_ids": torch.tensor([[1, *[IMAGE] * (rows * columns // 4), 2]] * images),
    }


def cells(layer, rows, columns, tokens, **windows):
    """The number of the token in each cell of the map."""
    layout = packed_layout(model(**windows), layer, tensors(rows, columns))
    values = torch.arange(float(tokens))[:, None]
    return layout.fold(to_grid(values, layout).sum(1))[0].int()


def test_the_mergers_tokens_lie_row_by_row():
    assert cells("visual.merger", 4, 6, 6).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_towers_patches_come_block_by_block():
    assert cells("visual.blocks.0", 4, 4, 16).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_windows_are_sorted_back_behind_the_patch_embedding():
    windows = {"window_size": 16, "fullatt_block_indexes": [2]}  # 2 x 2 blocks
    expected = [[0, 1, 4, 5, 8], [2, 3, 6, 7, 9], [10, 11, 12, 13, 14]]
    assert cells("visual.merger", 6, 10, 15, **windows).tolist() == expected
    assert cells("visual.patch_embed", 4, 4, 16, **windows).tolist() == cells("visual.blocks.0", 4, 4, 16).tolist()
    blocks = cells("visual.blocks.0", 4, 12, 48, **windows)
    assert blocks[::2, ::2].tolist() == [[0, 4, 16, 20, 32, 36], [8, 12, 24, 28, 40, 44]]


def test_the_language_models_tokens_are_found_among_the_words():
    windows = {"window_size": 16, "fullatt_block_indexes": [2]}
    layout = packed_layout(model(**windows), "language_model.layers.0", tensors(4, 6))
    values = torch.arange(8.0)[None, :, None]
    assert layout.fold(to_grid(values, layout).sum(1))[0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_images_have_one_size():
    given = tensors(10, 18, images=2)
    given["image_grid_thw"][1, 2] = 16
    with pytest.raises(InputError, match=r"different image_grid_thw \(\(1, 10, 16\), \(1, 10, 18\)\): explain them"):
        packed_layout(model(), "visual.merger", given)


def test_the_image_is_stretched_to_whole_patches():
    placement = place_in_patches(SimpleNamespace(patch_size=4), (30, 50), tensors(8, 12))
    assert placement.input == (32, 48)
    assert placement.scale == (32 / 30, 48 / 50)
