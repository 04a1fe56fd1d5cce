"""Contrast, margin, consistency."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import consistency_loss, contrast_loss, margin_loss
from mmgrad_explain.grounding.terms import SLACK, find_foreign_regions


def row(*values):
    return torch.tensor([[values]], dtype=torch.float32)


class TestContrast:
    def test_hand_values(self):
        mask, other = row(1, 1, 0, 0), row(0, 0, 1, 0)
        lit = contrast_loss(row(4, 2, 1, 9), mask, other).item()
        own, foreign = (4 + 2) / 9 / 2, 1 / 9
        assert lit == pytest.approx((foreign + SLACK) / (own + foreign + 2 * SLACK), rel=1e-5)
        assert contrast_loss(row(0, 0, 0, 1), mask, other).item() == 0.5
        assert contrast_loss(row(1, 1, 0, 0), mask, other).item() < 0.01
        assert contrast_loss(row(0, 0, 1, 0), mask, other).item() > 0.98

    def test_cells_in_both_regions_do_not_count(self):
        mask, other = row(1, 1, 0), row(0, 1, 1)
        assert torch.equal(find_foreign_regions(mask, other), row(0, 0, 1))
        assert contrast_loss(row(1, 1, 0), mask, other).item() < 0.01

    def test_several_partners_are_united(self):
        mask = row(1, 0, 0, 0)
        partners = torch.stack([row(0, 1, 0, 0), row(0, 0, 0.5, 0)], 1)
        assert torch.equal(find_foreign_regions(mask, partners), row(0, 1, 0.5, 0))
        maps = row(1, 0, 1, 0)
        assert torch.equal(contrast_loss(maps, mask, partners), contrast_loss(maps, mask, row(0, 1, 0.5, 0)))

    def test_shapes(self):
        with pytest.raises(InputError, match=r"other_masks must be \(B, h, w\) or \(B, K, h, w\) with masks of"):
            contrast_loss(row(1, 0), row(1, 0), torch.zeros(1, 2, 2))
        with pytest.raises(InputError, match="other_masks must be"):
            contrast_loss(row(1, 0), row(1, 0), torch.zeros(1, 0, 1, 2))


class TestMargin:
    def test_hand_values(self):
        mask = row(1, 0, 0)
        assert margin_loss(row(4, 1, 0), mask).item() == 0
        assert margin_loss(row(4, 3, 0), mask).item() == pytest.approx((0.5 - 1 + 0.75) / 1.5)
        assert margin_loss(row(0, 1, 0), mask).item() == 1
        assert margin_loss(row(4, 3, 0), mask, margin=0.25).item() == 0

    @pytest.mark.parametrize("margin", [0, -1, 1.5, float("nan")])
    def test_a_margin_out_of_range(self, margin):
        with pytest.raises(InputError, match="margin must be above 0 and at most 1, the map's maximum; got"):
            margin_loss(row(1, 0), row(1, 0), margin)


class TestConsistency:
    def test_hand_values(self):
        maps = row(3, 4, 0)
        assert consistency_loss(maps, 10 * maps).item() == pytest.approx(0, abs=1e-6)
        assert consistency_loss(maps, row(0, -1, 1)).item() == 1
        assert consistency_loss(maps, row(4, 3, 0)).item() == pytest.approx(1 - 24 / 25, rel=1e-4)

    def test_excluded_cells(self):
        first, second = row(1, 1, 0), row(1, 0, 1)
        assert consistency_loss(first, second, row(0, 1, 1)).item() == pytest.approx(0, abs=1e-6)
        assert consistency_loss(first, second, row(1, 1, 1)).item() == 1

    def test_both_maps_get_gradient(self):
        first, second = (torch.rand(2, 3, 3, requires_grad=True) for _ in range(2))
        consistency_loss(first, second).sum().backward()
        assert first.grad.abs().sum() > 0
        assert second.grad.abs().sum() > 0

    def test_shapes(self):
        with pytest.raises(InputError, match=r"maps and paired_maps must both be"):
            consistency_loss(row(1, 0), torch.zeros(1, 2, 2))
        with pytest.raises(InputError, match=r"maps and excluded must both be"):
            consistency_loss(row(1, 0), row(1, 0), torch.zeros(1, 2, 2))


def terms(masks, others):
    return {
        "contrast": lambda maps: contrast_loss(maps, masks, others),
        "margin": lambda maps: margin_loss(maps, masks, 0.9),
        "consistency": lambda maps: consistency_loss(maps, others + 0.1),
        "consistency of the target": lambda maps: consistency_loss(others + 0.1, maps, 0.5 * masks),
    }


every_term = pytest.mark.parametrize("name", list(terms(None, None)))


@every_term
def test_derivatives(name, live, held_constant):
    maps, masks = live()
    others = torch.rand_like(masks)
    term = terms(masks, others)[name]
    with held_constant(maps, others + 0.1):
        x = maps.clone().requires_grad_()
        assert gradcheck(term, x)
        assert gradgradcheck(term, x)


@every_term
def test_dead_maps_have_the_loss_1_and_finite_gradients(name, dead):
    masks = torch.eye(4).expand(3, 4, 4)
    others = torch.eye(4).flip(0).expand(3, 4, 4)
    maps = dead.requires_grad_()
    loss = terms(masks, others)[name](maps)
    assert loss.tolist() == [1, 1, 1]
    loss.sum().backward()
    assert maps.grad.isfinite().all()


@every_term
def test_in_0_to_1_and_in_float32(name, live):
    maps, masks = live(50, dtype=torch.float32)
    term = terms(masks, torch.rand_like(masks))[name]
    with torch.autocast("cpu", torch.bfloat16):
        loss = term(maps.bfloat16())
    assert loss.dtype == torch.float32
    assert ((loss >= 0) & (loss <= 1)).all()
    torch.testing.assert_close(loss, term(maps.bfloat16().float()))
