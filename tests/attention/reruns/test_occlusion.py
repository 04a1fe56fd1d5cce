"""Occlusion maps: exact drops, cell by cell, batched over cells and samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmgrad_explain.attention.reruns.occlusion import occlusion_grid, occlusion_map, pool_maps
from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.faithfulness import fill_images


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 20, 30, generator=torch.Generator().manual_seed(1))


def _weighted(images: Tensor, index: Tensor) -> Tensor:
    """A score that reads one place a sample: rows 5 to 10, columns 6 to 12 count, more for later samples."""
    return (1 + index) * images[:, :, 5:10, 6:12].square().sum((1, 2, 3))


def test_each_cell_holds_the_drop_of_a_run_of_its_own(images: Tensor) -> None:
    found = occlusion_map(_weighted, images, grid=(4, 5), batch=7)
    blurred = fill_images(images, "blur")
    for sample in range(3):
        for row in range(4):
            for column in range(5):
                changed = images[sample : sample + 1].clone()
                part = (slice(None), slice(row * 5, row * 5 + 5), slice(column * 6, column * 6 + 6))
                changed[0][part] = blurred[sample][part]
                index = torch.tensor([sample])
                drop = _weighted(images[sample : sample + 1], index) - _weighted(changed, index)
                torch.testing.assert_close(found[sample, row, column], drop[0])
    assert found[:, 1, 1].abs().min() > 0
    assert found.abs().sum() == pytest.approx(float(found[:, 1, 1].abs().sum()))


def test_the_size_of_batches_does_not_matter_and_progress_is_told(images: Tensor) -> None:
    told: list[tuple[int, int]] = []
    one = occlusion_map(_weighted, images, grid=(3, 7), batch=1)
    many = occlusion_map(_weighted, images, grid=(3, 7), batch=50, progress=lambda done, of: told.append((done, of)))
    torch.testing.assert_close(one, many)
    assert told == [(50, 63), (63, 63)]


def test_known_scores_are_not_computed_again(images: Tensor) -> None:
    runs: list[int] = []

    def score(changed: Tensor, index: Tensor) -> Tensor:
        runs.append(len(changed))
        return _weighted(changed, index)

    before = _weighted(images, torch.arange(3))
    known = occlusion_map(score, images, before, grid=(2, 2), batch=100)
    assert runs == [12]
    torch.testing.assert_close(known, occlusion_map(score, images, grid=(2, 2)))
    assert runs == [12, 3, 12]


def test_a_wide_window_hides_the_neighbours_too(images: Tensor) -> None:
    wide = occlusion_map(_weighted, images, grid=(4, 5), window=3)
    assert (wide[:, :3, :3].abs() > 0).all()
    assert (wide[:, 3] == 0).all()


def test_the_cells_of_odd_grids_cover_the_image_once() -> None:
    image = torch.ones(1, 1, 17, 23)
    drops = occlusion_map(lambda changed, _: changed.sum((1, 2, 3)), image, grid=(5, 7), fill="zero")
    assert drops.sum() == 17 * 23


def test_bad_grids_and_windows_are_refused(images: Tensor) -> None:
    with pytest.raises(InputError, match=r"grid: an image of 20 x 30 pixels has no 21 x 3 cells"):
        occlusion_map(_weighted, images, grid=(21, 3))
    with pytest.raises(InputError, match=r"window must be above 0"):
        occlusion_map(_weighted, images, window=0)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [((7, 7), (7, 7)), ((8, 8), (8, 8)), ((6, 10), (6, 10)), ((14, 14), (8, 8)), ((3, 3), (8, 8)), ((16, 64), (4, 16))],
)
def test_the_grid_is_the_maps_own_or_of_about_64_cells(grid: tuple[int, int], expected: tuple[int, int]) -> None:
    assert occlusion_grid(grid) == expected


def test_maps_are_pooled_onto_coarser_grids_and_interpolated_onto_finer_ones() -> None:
    maps = torch.arange(16.0).view(1, 4, 4)
    torch.testing.assert_close(pool_maps(maps, (2, 2)), torch.tensor([[[2.5, 4.5], [10.5, 12.5]]]))
    assert pool_maps(maps, (4, 4)) is maps
    finer = pool_maps(maps, (8, 8))
    assert finer.shape == (1, 8, 8)
    assert finer.mean() == pytest.approx(7.5, abs=1e-4)
