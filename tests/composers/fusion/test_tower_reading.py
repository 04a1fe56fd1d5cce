"""Patches on their grid, and tokens in a module's output."""

import pytest
import torch

from mmgrad_explain.composers.fusion.tower_reading import on_grid, tokens_in
from mmgrad_explain.errors import InputError


def test_patches_on_their_grid():
    tokens = torch.arange(2 * 17 * 3).reshape(2, 17, 3).float()
    grid = on_grid(tokens, (32, 32))
    assert grid.shape == (2, 3, 4, 4)
    torch.testing.assert_close(grid[:, :, 1, 2], tokens[:, 1 + 4 + 2])
    wide = on_grid(torch.arange(20.0).reshape(1, 20, 1), (24, 40))  # five registers
    assert wide[0, 0].tolist() == torch.arange(5.0, 20).reshape(3, 5).tolist()
    image = torch.rand(1, 7, 3, 5)
    torch.testing.assert_close(on_grid(image, (24, 40)), image)
    torch.testing.assert_close(on_grid(image.permute(0, 2, 3, 1), (24, 40)), image)
    with pytest.raises(InputError, match="10 patches fit no grid of an image of 30 x 43 pixels: make images"):
        on_grid(torch.rand(1, 10, 4), (30, 43))


def test_tokens_are_found_in_what_a_module_gives():
    tokens = torch.rand(1, 2, 3)
    assert tokens_in({"pooled": torch.rand(1, 3), "all": (None, tokens)}) is tokens
    assert tokens_in([torch.ones(1, 2, 3).long()]) is None
    assert tokens_in("nothing") is None
