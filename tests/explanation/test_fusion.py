"""Maps of several layers are fused on the finest grid, each scaled by its largest magnitude."""

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.fusion import FUSES, ensure_fuse, fuse_maps

COARSE, FINE = torch.tensor([[[4.0]]]), torch.tensor([[[1.0, 2.0], [0.0, -2.0]]])
BY_HAND = {
    "mean": [[0.75, 1.0], [0.5, 0.0]],
    "max": [[1.0, 1.0], [1.0, 1.0]],
    "product": [[0.5, 1.0], [0.0, -1.0]],
}


def test_every_fusion_by_hand():
    assert list(BY_HAND) == list(FUSES)
    for name, expected in BY_HAND.items():
        assert fuse_maps([COARSE, FINE], ensure_fuse(name)).tolist() == [expected]


def test_one_layer_stays_as_it_is():
    assert fuse_maps([FINE], ensure_fuse("mean")) is FINE


def test_zeros_stay_zeros():
    assert fuse_maps([torch.zeros(1, 2, 2), FINE], ensure_fuse("product")).count_nonzero() == 0


def test_what_is_refused():
    with pytest.raises(InputError, match="fuse: there is no 'meen'; did you mean"):
        ensure_fuse("meen")
    with pytest.raises(TypeError, match="fuse must be a name or a callable, not int"):
        ensure_fuse(3)
    with pytest.raises(InputError, match="the layers' batches differ"):
        fuse_maps([COARSE, FINE.repeat(2, 1, 1)], ensure_fuse("mean"))
    with pytest.raises(InputError, match=r"fuse must return a map of shape \(1, 2, 2\), not \(2, 1, 2, 2\)"):
        fuse_maps([COARSE, FINE], lambda maps: maps)
