"""Terms of the loss of a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgrad_explain.training.objective.supervision import Rows
from mmgrad_explain.training.objective.terms import (
    JoinedGroundingLoss,
    change_loss,
    direction_loss,
    ground,
    pooling_loss,
)


def test_the_pooling_loss_is_low_inside_the_mask():
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2, :2] = True
    logits = torch.zeros(2, 3, 4)
    logits[0, 0, 0] = 20
    assert pooling_loss(logits, masks, 1).item() == pytest.approx(0, abs=1e-3)
    assert pooling_loss(logits, masks, 2).item() == pytest.approx(np.log(4) / 2, abs=1e-3)
    assert pooling_loss(logits[1:], masks[1:], 2).item() == 0


def test_the_change_loss_compares_directions_within_an_image():
    change = torch.eye(4)
    picture = torch.tensor([0, 0, 1, 1])
    right = change_loss(1e-3 * change, 7.0 * change, picture)
    wrong = change_loss(change[[1, 0, 3, 2]], change, picture)
    assert right < 1e-3
    assert wrong > 9
    assert change_loss(change, change[[1, 2, 3, 0]], torch.arange(4)) == 0  # one edit each: nothing to tell apart


def test_soft_masks_reach_the_loss_as_they_are(batch):
    torch.manual_seed(0)
    soft = torch.rand(batch.reference_masks.shape) * batch.reference_masks
    faint = replace(batch, reference_masks=soft, target_masks=soft)
    rows = Rows(torch.arange(6), torch.tensor([1, 2]), torch.ones(8, dtype=torch.bool))
    loss = JoinedGroundingLoss("bce", weights={"form": 1.0, "contrast": 1.0}, validate=False)
    maps = torch.rand(1, 8, 8, 8)
    expected = loss(
        maps,
        soft[[0, 1, 2, 3, 4, 5, 1, 2]],
        other_masks=torch.stack([soft[j] if j >= 0 else 0 * soft[0] for j in [*batch.partner.tolist(), -1, -1]]),
    )
    torch.testing.assert_close(ground(loss, maps, faint, rows), expected)
    assert ground(loss, maps, batch, rows) != expected


def test_the_direction_of_a_shift_is_compared_where_only_the_edit_differs():
    shift = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], requires_grad=True)
    change = torch.tensor([[3.0, 0.0], [0.0, -1.0], [0.0, 5.0]], requires_grad=True)
    loss = direction_loss(shift, change, torch.tensor([True, True, False]))
    assert loss.item() == pytest.approx((0 + 2) / 2)
    loss.backward()
    assert change.grad is None
    assert shift.grad[2].abs().max() == 0
