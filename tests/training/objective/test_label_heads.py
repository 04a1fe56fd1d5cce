"""Linear heads that predict label maps."""

import torch
from torch.nn import functional as F

from mmgrad_explain.training.objective.label_heads import LabelHeads, read_at_cells


def test_the_heads_weigh_things_and_ground_alike():
    heads = LabelHeads(2, {"thing": 3, "other": 2})
    grid = torch.randn(2, 2, 2, 2)
    labels = torch.tensor([[[1, 0], [0, 0]], [[2, 255], [0, 0]]], dtype=torch.uint8)
    each = F.cross_entropy(heads.heads["thing"](grid), labels.long(), ignore_index=255, reduction="none")
    expected = (each[[0, 1], 0, 0].mean() + each[labels == 0].mean()) / 2
    torch.testing.assert_close(heads(grid, {"thing": labels[:1]}, {"thing": labels[1:]}), expected)
    assert heads(grid, {}, {}).item() == 0


def test_labels_are_looked_up_at_the_cells_centres():
    labels = torch.arange(36).view(1, 6, 6)
    assert read_at_cells(labels, (2, 3)).tolist() == [[[7, 9, 11], [25, 27, 29]]]
