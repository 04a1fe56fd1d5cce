"""RISE: its masks, its estimate against a plain one, and what it leaves alone."""

import math

import numpy as np
import pytest
import torch

from mmgrad_explain.attention.reruns.rise import RandomMasks, rise_map
from mmgrad_explain.errors import InputError


def plain_masks(count, size, cells, keep, seed):
    """The masks as the paper words them, pixel by pixel, from the same random numbers."""
    generator = torch.Generator().manual_seed(seed)
    shown = (torch.rand(count, 1, cells, cells, generator=generator) < keep).double().numpy()[:, 0]
    side = [math.ceil(pixels / cells) for pixels in size]
    tops, lefts = (torch.randint(0, pixels, (count,), generator=generator).tolist() for pixels in side)

    def weights(pixels, cell):
        """(pixels of the enlarged grid, cells): where each pixel's centre lies between the centres of cells."""
        found = np.zeros((pixels, cells))
        for pixel in range(pixels):
            at = min(max((pixel + 0.5) / cell - 0.5, 0), cells - 1)
            low = min(int(at), cells - 2) if cells > 1 else 0
            found[pixel, low] += 1 - (at - low)
            if cells > 1:
                found[pixel, low + 1] += at - low
        return found

    masks = []
    for grid, top, left in zip(shown, tops, lefts, strict=True):
        # torch enlarges cells to cells + 1 times the side: its step is cells / ((cells + 1) side)
        scale = [(cells + 1) * pixels / cells for pixels in side]
        rows, columns = (weights((cells + 1) * pixels, step) for pixels, step in zip(side, scale, strict=True))
        masks.append((rows @ grid @ columns.T)[top : top + size[0], left : left + size[1]])
    return np.stack(masks)


@pytest.mark.parametrize(("size", "cells"), [((20, 26), 4), ((15, 15), 7)])
def test_masks_are_enlarged_shifted_grids(size, cells):
    masks = RandomMasks.draw(6, size, cells=cells, keep=0.4, seed=3).enlarge(0, 6)
    np.testing.assert_allclose(masks.numpy(), plain_masks(6, size, cells, 0.4, 3), atol=1e-5)


def test_every_pixel_is_shown_equally_often():
    masks = RandomMasks.draw(4000, (24, 30), cells=5, keep=0.3).enlarge(0, 4000)
    assert (masks.mean(0) - 0.3).abs().max() < 0.05
    assert masks.min() == 0
    assert masks.max() == pytest.approx(1)


def linear(weight):
    """A score that adds up weighted pixels: what each pixel counts is known."""
    return lambda images, index: (images * weight[index]).sum((1, 2, 3)).float()


def test_the_map_is_mean_where_shown_less_mean_where_hidden():
    torch.manual_seed(0)
    images, weight = torch.rand(2, 3, 12, 12), torch.randn(2, 3, 12, 12)
    score = linear(weight)
    found = rise_map(score, images, score(images, torch.arange(2)), masks=40, cells=3, fill="zero", batch=7, seed=5)
    masks = RandomMasks.draw(40, (12, 12), cells=3, seed=5).enlarge(0, 40).double()
    scores = torch.stack([(images.double() * mask * weight.double()).sum((1, 2, 3)) for mask in masks])
    for sample in range(2):
        shown = sum(s * m for s, m in zip(scores[:, sample], masks, strict=True)) / masks.sum(0)
        hidden = sum(s * (1 - m) for s, m in zip(scores[:, sample], masks, strict=True)) / (1 - masks).sum(0)
        torch.testing.assert_close(found[sample].double(), shown - hidden, atol=1e-4, rtol=1e-4)


def test_it_finds_the_one_place_that_counts_and_its_sign():
    weight = torch.zeros(2, 3, 21, 21)
    weight[0, :, 3:6, 15:18], weight[1, :, 12:15, 6:9] = 1, -1
    score = linear(weight)
    images = torch.ones(2, 3, 21, 21)
    found = rise_map(score, images, score(images, torch.arange(2)), masks=400, fill="zero")
    top, lowest = found[0].flatten().argmax(), found[1].flatten().argmin()
    assert abs(top // 21 - 4) <= 1
    assert abs(top % 21 - 16) <= 1
    assert abs(lowest // 21 - 13) <= 1
    assert abs(lowest % 21 - 7) <= 1


def test_a_score_that_never_changes_has_an_empty_map():
    images = torch.rand(1, 3, 16, 16)
    found = rise_map(lambda x, _: torch.full((len(x),), 0.25), images, torch.full((1,), 0.25), masks=10)
    assert found.count_nonzero() == 0


def test_the_same_seed_gives_the_same_map_and_the_generators_stay():
    images, weight = torch.rand(1, 3, 14, 14), torch.rand(1, 3, 14, 14)
    before = torch.get_rng_state()
    maps = [rise_map(linear(weight), images, torch.zeros(1), masks=16, seed=seed, fill="zero") for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


def test_progress_counts_every_run():
    seen = []
    images = torch.rand(2, 3, 8, 8)
    rise_map(linear(torch.ones(2, 3, 8, 8)), images, torch.zeros(2), masks=5, batch=4,
             progress=lambda done, of: seen.append((done, of)))  # fmt: skip
    assert seen == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.parametrize(
    ("options", "named"), [({"masks": 1}, "masks"), ({"cells": 0}, "cells"), ({"keep": 1}, "keep")]
)
def test_options_out_of_range_are_refused_by_name(options, named):
    with pytest.raises(InputError, match=named):
        rise_map(linear(torch.ones(1, 3, 8, 8)), torch.rand(1, 3, 8, 8), torch.zeros(1), **options)
