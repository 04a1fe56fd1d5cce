"""Attention sinks: maps whose mass lies at the border."""

import torch

from mmgrad_explain.attention.methods.answers.attention_sinks import border_share, find_sinks


def test_the_share_of_the_border():
    maps = torch.zeros(3, 6, 5)
    maps[0, 0, 0], maps[0, 2, 2] = 3.0, 1.0
    maps[1, 2, 2] = 1.0
    assert border_share(maps).tolist() == [0.75, 0.0, 0.0]
    assert border_share(torch.ones(1, 4, 4)).item() == 0.75
    assert border_share(torch.ones(1, 1, 4)).item() == 1.0


def test_maps_that_are_mostly_border_are_found():
    maps = torch.rand(3, 16, 16)
    maps[1, 0, 3] = 200.0
    maps[2, 8, 8] = 200.0
    assert find_sinks(maps) == (1,)


def test_grids_that_are_mostly_border_have_none():
    maps = torch.ones(2, 4, 4)
    maps[1, 1:3, 1:3] = 0
    assert find_sinks(maps) == ()
    assert find_sinks(torch.ones(1, 2, 2)) == ()


def test_half_precision():
    maps = torch.zeros(1, 16, 16, dtype=torch.float16)
    assert find_sinks(maps) == ()
    maps[0, 0] = 1
    assert find_sinks(maps) == (0,)
