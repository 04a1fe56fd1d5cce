"""What a map hides and shows: soft masks, split images, shares of a score."""

import pytest
import torch
from torch.autograd import gradcheck

from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import hidden_loss, shown_loss, soft_mask, split_images


def test_a_soft_mask_is_the_sigmoid_of_the_enlarged_map():
    maps = torch.tensor([[[4.0, 2.0], [0.0, -5.0]]])
    mask = soft_mask(maps, (2, 2), sharpness=6.0, threshold=0.25)
    expected = 1 / (1 + torch.exp(-6 * (torch.tensor([[1.0, 0.5], [0.0, 0.0]]) - 0.25)))
    torch.testing.assert_close(mask[0], expected)
    large = soft_mask(maps, (8, 6))
    assert large.shape == (1, 8, 6)
    assert large[0, 0, 0] > 0.98
    assert large[0, -1, -1] < 0.02


def test_derivatives(live, held_constant):
    maps, _ = live(2, 3, 4)
    with held_constant(maps):
        assert gradcheck(lambda one: soft_mask(one, (5, 7)), maps.clone().requires_grad_())
    scores = torch.rand(2, 6, dtype=torch.float64) + 0.1
    for loss in (hidden_loss, shown_loss):
        assert gradcheck(lambda part, loss=loss: loss(scores[0], part), scores[1].clone().requires_grad_())


def test_a_dead_map_hides_nothing(dead):
    assert (soft_mask(dead, (4, 4)) < 0.01).all()


def test_hidden_and_shown_add_up_to_the_image():
    images, masks = torch.randn(2, 3, 4, 5), torch.rand(2, 4, 5)
    hidden, shown = split_images(images, masks)
    torch.testing.assert_close(hidden + shown, images)
    torch.testing.assert_close(shown, images * masks[:, None])
    assert not split_images(images, torch.ones(2, 4, 5))[0].any()


def test_shares_of_a_score():
    whole = torch.tensor([2.0, 2.0, 2.0, 0.0, -1.0], requires_grad=True)
    part = torch.tensor([0.5, 3.0, -1.0, 1.0, 1.0], requires_grad=True)
    assert hidden_loss(whole, part).tolist() == [0.25, 1.5, 0, 0, 0]
    assert shown_loss(whole, part).tolist() == [0.75, 0, 1.5, 0, 0]
    (hidden_loss(whole, part) + shown_loss(whole, part)).sum().backward()
    assert whole.grad is None
    assert part.grad.tolist() == [0, 0.5, -0.5, 0, 0]


def test_wrong_use():
    with pytest.raises(InputError, match=r"maps must be \(B, h, w\), got \(2, 2\)"):
        soft_mask(torch.rand(2, 2), (4, 4))
    with pytest.raises(InputError, match="sharpness must be above 0"):
        soft_mask(torch.rand(1, 2, 2), (4, 4), sharpness=0)
    with pytest.raises(InputError, match=r"masks must be \(B, H, W\) for images"):
        split_images(torch.rand(1, 3, 4, 4), torch.rand(1, 2, 2))
    with pytest.raises(InputError, match=r"scores must both be \(B,\)"):
        hidden_loss(torch.rand(3), torch.rand(2))
