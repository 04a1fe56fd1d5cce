"""Linear heads that predict label maps."""

import pytest
import torch
from torch.nn import functional as F

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.composer import ReferenceComposer
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.data.batches.batch import IGNORE
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.objective.label_heads import LabelHeads, read_at_cells


def test_the_heads_weigh_things_and_ground_alike():
    heads = LabelHeads(2, {"thing": 3, "other": 2})
    grid = torch.randn(2, 2, 2, 2)
    labels = torch.tensor([[[1, 0], [0, 0]], [[2, 255], [0, 0]]], dtype=torch.uint8)
    each = F.cross_entropy(heads.heads["thing"](grid), labels.long(), ignore_index=255, reduction="none")
    expected = (each[[0, 1], 0, 0].mean() + each[labels == 0].mean()) / 2
    torch.testing.assert_close(heads(grid, {"thing": labels[:1]}, {"thing": labels[1:]}), expected)
    assert heads(grid, {}, {}).item() == 0
    every = heads(grid, {"thing": labels[:1]}, {"thing": labels[1:]}, balance=False)
    torch.testing.assert_close(every, each[labels != 255].mean())


def test_labels_are_looked_up_at_the_cells_centres():
    labels = torch.arange(36).view(1, 6, 6)
    assert read_at_cells(labels, (2, 3)).tolist() == [[[7, 9, 11], [25, 27, 29]]]


def test_tags_stand_in_for_label_maps():
    """A grid that shows a tag somewhere and no other class has the least loss."""
    heads = LabelHeads(3, {"object": 3})
    heads.heads["object"].weight.data = 9 * torch.eye(3)[..., None, None]
    heads.heads["object"].bias.data.zero_()
    unknown = torch.full((1, 8, 8), IGNORE, dtype=torch.uint8)
    tags = torch.tensor([[1, 1, 0], [-1, 0, 0]], dtype=torch.int8)
    grid = torch.zeros(2, 3, 4, 4)
    grid[:, 0] = 1
    without = heads(grid, {"object": unknown}, {"object": unknown}, tags)
    grid[0, :, 1, 1] = torch.tensor([0.0, 1.0, 0.0])
    there = heads(grid, {"object": unknown}, {"object": unknown}, tags)
    grid[0, :, 3, 3] = torch.tensor([0.0, 0.0, 1.0])
    other = heads(grid, {"object": unknown}, {"object": unknown}, tags)
    assert there < other < without
    assert heads(grid, {"object": unknown}, {"object": unknown}) == 0
    assert heads(grid, {"object": unknown}, {"object": unknown}, tags, 0.0) == 0
    assert heads(grid, {"object": unknown}, {"object": unknown}, tags[:, :2]) == 0  # of another number of classes


def composer_with_parts(parts: int) -> ReferenceComposer:
    config = NetworkConfig(image_size=32, vocab_size=9, embed_dim=6, feature_width=8, parts=parts, looks=12)
    return ReferenceComposer(build_network(config), processor=None)  # type: ignore[arg-type]


def test_a_models_own_classifiers_are_trained_and_others_added():
    composer = composer_with_parts(3)
    heads = LabelHeads.of(composer, {"object": 3, "pixel_colour": 12, "size": 2})
    assert list(heads.heads) == ["size"]
    labels = torch.randint(0, 3, (1, 8, 8), dtype=torch.uint8)
    heads(composer.encode_image(torch.randn(2, 3, 32, 32)), {"object": labels}, {"object": labels}).backward()
    assert composer.network.named.parts.logits.weight.grad.abs().sum() > 0
    assert {id(one) for one in heads.parameters()}.isdisjoint(map(id, composer.parameters()))


def test_classes_that_differ_are_refused_with_the_size_to_set():
    with pytest.raises(InputError, match=r"'object', and the sources have 4: set model\.sizes\.parts"):
        LabelHeads.of(composer_with_parts(3), {"object": 4, "pixel_colour": 12})
