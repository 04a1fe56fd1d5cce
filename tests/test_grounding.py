"""The Dice loss on maps."""

import pytest
import torch

from mmgrad_explain.grounding import dice_loss


def test_hand_values_and_scale():
    mask = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    assert dice_loss(mask, mask).item() == pytest.approx(0.0, abs=1e-6)
    assert dice_loss(7 * mask, mask).item() == pytest.approx(0.0, abs=1e-6)
    half = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert dice_loss(half, mask).item() == pytest.approx(1 - 2 / 3, abs=1e-6)


def test_a_dead_map_has_the_worst_loss_and_finite_gradients():
    maps = torch.zeros(1, 2, 2, requires_grad=True)
    mask = torch.ones(1, 2, 2)
    loss = dice_loss(maps, mask)
    loss.sum().backward()
    assert loss.item() == 1.0
    assert maps.grad.isfinite().all()


def test_one_value_a_sample():
    maps = torch.rand(5, 3, 4)
    assert dice_loss(maps, maps > 0.5).shape == (5,)


def test_second_derivatives():
    mask = torch.rand(2, 3, 3, dtype=torch.float64)
    maps = torch.rand(2, 3, 3, dtype=torch.float64, requires_grad=True)
    peak = maps.detach().amax((1, 2), keepdim=True)

    def shape_only(x):  # the peak is held constant, so vary everything else
        return dice_loss(
            torch.cat([peak.flatten(1), x.flatten(1)], 1)[:, None],
            torch.cat([torch.ones(2, 1), mask.flatten(1)], 1)[:, None],
        )

    x = (maps.detach() * 0.5).requires_grad_()
    assert torch.autograd.gradcheck(shape_only, x)
    assert torch.autograd.gradgradcheck(shape_only, x)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="must both be"):
        dice_loss(torch.zeros(1, 2, 2), torch.zeros(1, 3, 3))
