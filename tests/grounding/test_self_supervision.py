"""Maps that should agree, and maps that should differ: hand values, bounds, dead maps, derivatives."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import dead_maps, selfeq_loss, separation_loss
from mmgrad_explain.grounding.self_supervision import REGION, REGION_WEIGHT

LOSSES = {"selfeq": selfeq_loss, "texts": separation_loss}
WORST = {"selfeq": 1.9, "texts": 1.0}
every_loss = pytest.mark.parametrize("name", LOSSES)


def row(*values):
    return torch.tensor([[values]], dtype=torch.float32)


class TestSelfEQ:
    def test_the_formula(self):
        """Squares of the difference; in the region where both sum to 0.8: spreads, and means below 0.4."""
        first, second = row(10.0, 2.0, 1.0, 0.0), row(2.0, 8.0, 0.4, -3.0)
        g, h = torch.tensor([1.0, 0.2, 0.1, 0.0]), torch.tensor([0.25, 1.0, 0.05, 0.0])
        region = g + h >= REGION
        assert region.tolist() == [True, True, False, False]
        both = sum(one[region].std(correction=0) + max(0, REGION / 2 - one[region].mean()) for one in (g, h))
        expected = (g - h).square().mean() + REGION_WEIGHT * both
        assert selfeq_loss(first, second).item() == pytest.approx(expected.item(), abs=2e-3)

    def test_maps_that_agree_on_one_even_region_have_no_loss(self):
        maps = row(3.0, 3.0, -1.0, 0.0)
        assert selfeq_loss(maps, 5 * maps).item() == pytest.approx(0, abs=2e-3)
        assert selfeq_loss(maps, maps.flip(-1)).item() > 1

    def test_uneven_and_faint_maps_cost_though_they_are_equal(self):
        even, uneven = row(1.0, 1.0, 0.0, 0.0), row(1.0, 0.4, 0.0, 0.0)
        assert selfeq_loss(uneven, uneven).item() > selfeq_loss(even, even).item() + 0.1

    def test_the_order_does_not_count(self, live):
        first, second = live()[0], live()[0]
        torch.testing.assert_close(selfeq_loss(first, second), selfeq_loss(second, first))


class TestSeparation:
    def test_hand_values(self):
        maps = row(3.0, 4.0, 0.0)
        assert separation_loss(maps, row(0.0, 0.0, 1.0)).item() == 0
        assert separation_loss(maps, 7 * maps).item() == pytest.approx(1)
        assert separation_loss(maps, row(4.0, 3.0, 0.0)).item() == pytest.approx((24 / 25 - 0.5) / 0.5, rel=1e-4)
        assert separation_loss(maps, row(4.0, 3.0, 0.0), margin=0.96).item() == pytest.approx(0, abs=1e-5)

    @pytest.mark.parametrize("margin", [-0.1, 1.0, float("nan")])
    def test_a_margin_out_of_range(self, margin):
        with pytest.raises(InputError, match="margin must be a cosine, at least 0 and below 1; got"):
            separation_loss(row(1.0, 0.0), row(1.0, 0.0), margin)


@every_loss
def test_derivatives_in_both_maps(name, live, held_constant):
    maps, others = live()[0].abs() + 0.01, live()[0].abs() + 0.01

    def loss(first, second):  # with a dark column, the least value is 0 and stays; below 0 the gradient is that above
        return LOSSES[name](*(F.pad(one, (0, 1), value=-1.0) for one in (first, second)))

    with held_constant(*(F.pad(one, (0, 1), value=-1.0) for one in (maps, others))):
        inputs = (maps.clone().requires_grad_(), others.clone().requires_grad_())
        assert gradcheck(loss, inputs)
        assert gradgradcheck(loss, inputs)


@every_loss
def test_dead_maps_are_worst_and_revived(name, dead):
    live = torch.rand(3, 4, 4)
    for first, second in ((dead, live), (live, dead), (dead, dead)):
        inputs = [first.clone().requires_grad_(), second.clone().requires_grad_()]
        loss = LOSSES[name](*inputs)
        assert loss.tolist() == pytest.approx([WORST[name]] * 3)
        loss.sum().backward()
        assert all(one.grad.isfinite().all() for one in inputs)
    bright = torch.zeros(1, 4, 4)
    bright[0, 1, 1:3] = 1
    maps = (-1 - torch.rand(1, 4, 4)).requires_grad_()
    for _ in range(60):
        (gradient,) = torch.autograd.grad(LOSSES[name](maps, bright).sum(), maps)
        maps = (maps - 0.2 * gradient / gradient.norm()).detach().requires_grad_()
        if not dead_maps(maps):
            break
    assert not dead_maps(maps)
    assert bool(bright[0].flatten()[maps[0].argmax()]) == (name == "selfeq")


def test_a_dark_cell_is_raised_where_the_other_map_is_bright():
    dark = row(-3.0, 0.0, 4.0).requires_grad_()
    (gradient,) = torch.autograd.grad(selfeq_loss(dark, row(1.0, 0.0, 0.0)).sum(), dark)
    assert gradient[0, 0, 0] < 0
    assert gradient[0, 0, 1] == 0
    assert gradient[0, 0, 2] > 0


def test_maps_that_disagree_come_to_agree_and_none_dies():
    maps = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(0)) - 0.5
    for _ in range(80):
        pair = [one.clone().requires_grad_() for one in maps]
        gradients = torch.autograd.grad(selfeq_loss(*pair).sum(), pair)
        maps = maps - 0.5 * torch.stack(gradients)
    assert not dead_maps(maps.flatten(0, 1)).any()
    assert selfeq_loss(*maps).mean() < 0.2


def test_two_dead_maps_are_raised_where_the_other_is_least_dark():
    first, second = row(-1.0, -2.0, -3.0).requires_grad_(), row(-3.0, -2.0, -1.0).requires_grad_()
    one, two = torch.autograd.grad(selfeq_loss(first, second).sum(), (first, second))
    assert one.argmin() == 2
    assert two.argmin() == 0


@every_loss
def test_no_live_pair_is_worse_and_precision(name, live):
    maps, others = live(200, 3, 3, dtype=torch.float32)[0], live(200, 3, 3, dtype=torch.float32)[0]
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[name](maps.bfloat16(), others.bfloat16())
    assert loss.dtype == torch.float32
    assert ((loss >= 0) & (loss <= WORST[name])).all()


@every_loss
def test_shapes(name):
    with pytest.raises(InputError, match="maps and other_maps must both be"):
        LOSSES[name](row(1.0, 0.0), torch.zeros(1, 2, 2))
