"""Precision, checks, constant scales and dead maps."""

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding.maps import (
    check_pair,
    dead_is_worst,
    dead_maps,
    full_precision,
    in_float32,
    peak_of,
    reach_of,
    rectify,
    share_of,
    spread_of,
)


class TestDeadMaps:
    def test_what_is_dead(self, dead):
        assert dead_maps(dead).tolist() == [True, True, True]
        alive = dead.clone()
        alive[:, 1, 2] += 5
        assert dead_maps(alive).tolist() == [False, False, False]
        assert not dead_maps(torch.full((1, 2, 2), float("nan")))

    def test_rounding_does_not_count(self):
        almost = torch.ones(1, 8, 8)
        almost[0, 3, 3] += 2e-7
        assert dead_maps(almost)

    def test_the_worst_value_replaces_that_of_dead_maps_alone(self):
        maps = torch.tensor([[[-1.0, -2.0]], [[3.0, 1.0]]], requires_grad=True)
        masks = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
        loss = dead_is_worst(torch.tensor([0.2, 0.3]), 7.0, maps, masks)
        assert loss.tolist() == pytest.approx([7.0, 0.3])
        (gradient,) = torch.autograd.grad(loss.sum(), maps)
        assert gradient[0, 0].tolist() == pytest.approx([0.0, -(2.5**-0.5)])  # raises the cell in the mask
        assert gradient[1].count_nonzero() == 0


class TestScales:
    maps = torch.tensor([[[3.0, -4.0]], [[0.0, 0.0]]])

    def test_by_hand(self):
        assert peak_of(self.maps).flatten().tolist() == [3.0, 1.0]
        assert reach_of(self.maps).flatten().tolist() == [4.0, 1.0]
        centre, spread = spread_of(self.maps, centred=True)
        assert (centre.flatten().tolist(), spread.flatten().tolist()) == ([-0.5, 0.0], [3.5, 1.0])
        centre, spread = spread_of(self.maps, centred=False)
        assert (centre.flatten().tolist(), spread.flatten().tolist()) == ([0.0, 0.0], pytest.approx([12.5**0.5, 1.0]))
        assert rectify(self.maps).tolist() == [[[1.0, 0.0]], [[0.0, 0.0]]]
        assert share_of(torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]])).tolist() == [[[0.25, 0.75]], [[0.0, 0.0]]]

    @pytest.mark.parametrize("scale", [1e-15, 1e30])
    def test_squares_neither_vanish_nor_overflow(self, scale):
        assert spread_of(scale * self.maps[:1], centred=False)[1].item() == pytest.approx(scale * 12.5**0.5)

    def test_scales_are_constant(self):
        maps = self.maps.clone().requires_grad_()
        assert not any(scale.requires_grad for scale in (peak_of(maps), reach_of(maps), *spread_of(maps, centred=True)))
        (gradient,) = torch.autograd.grad(rectify(maps)[0, 0, 0], maps)
        assert gradient[0, 0].tolist() == pytest.approx([1 / 3, 0.0])


class TestPrecision:
    def test_float64_stays(self):
        kinds = (torch.float16, torch.bfloat16, torch.float64)
        assert [in_float32(torch.ones(1, dtype=kind)).dtype for kind in kinds] == [*[torch.float32] * 2, torch.float64]

    def test_a_decorated_loss_gets_float32_and_no_autocast(self):
        seen = []

        @full_precision
        def loss(maps, factor):
            seen.append((maps.dtype, torch.is_autocast_enabled("cpu")))
            return maps * factor

        with torch.autocast("cpu", torch.bfloat16):
            loss(torch.ones(1, 2, 2, dtype=torch.bfloat16), 2)
        assert seen == [(torch.float32, False)]
        with pytest.raises(TypeError, match=r"maps must be a floating tensor \(B, h, w\), not torch.int64"):
            loss(torch.ones(1, 2, 2, dtype=torch.long), 2)


def test_masks_take_the_dtype_of_the_maps():
    maps = torch.ones(2, 3, 4, dtype=torch.float64)
    assert check_pair(maps, torch.ones(2, 3, 4, dtype=torch.bool)).dtype == torch.float64
    with pytest.raises(InputError, match=r"maps and masks must both be \(B, h, w\), got \(2, 3, 4\) and \(2, 3, 5\)"):
        check_pair(maps, torch.ones(2, 3, 5))
