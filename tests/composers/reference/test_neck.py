"""The neck and the positions of the cells."""

import torch

from mmgrad_explain.composers.reference.neck import POSITION_CODES, GridPositions, Neck, position_codes


def test_each_cell_of_a_grid_has_a_code_of_its_own_and_mirrored_cells_mirror_the_column() -> None:
    codes = position_codes(4, torch.zeros(()))
    assert codes.shape == (16, POSITION_CODES)
    assert len(codes.unique(dim=0)) == 16
    grid = codes.view(4, 4, POSITION_CODES)
    torch.testing.assert_close(grid.flip(1)[..., 1], -grid[..., 1])
    torch.testing.assert_close(grid.flip(0)[..., 0], -grid[..., 0])


def test_tokens_of_a_square_grid_get_their_positions() -> None:
    places = GridPositions(5)
    tokens = torch.randn(2, 9, 5)
    torch.testing.assert_close(places(tokens) - tokens, places.project(position_codes(3, tokens)).expand(2, 9, 5))


def test_the_neck_gives_the_grid_of_the_first_map_and_hears_every_map_and_place() -> None:
    neck = Neck([3, 4, 6], 8, 4)
    maps = [torch.randn(1, 3, 8, 8), torch.randn(1, 4, 4, 4), torch.randn(1, 6, 2, 2)]
    grid = neck(maps)
    assert grid.shape == (1, 8, 8, 8)
    assert grid.min() >= 0
    for number, one in enumerate(maps):
        assert not torch.equal(neck([*maps[:number], one + torch.randn_like(one), *maps[number + 1 :]]), grid)
    neck.positions.data = neck.positions.data.flip(2)
    assert not torch.equal(neck(maps), grid)
