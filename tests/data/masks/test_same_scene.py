"""One photograph or two."""

import numpy as np

from mmgrad_explain.data.masks.same_scene import AGREEMENT, measure_agreement, overlay_target


def test_a_changed_copy_is_laid_in_place(photo, recoloured):
    laid = overlay_target(photo, recoloured)
    assert laid.seen.all()
    assert np.allclose(laid.to_target, [[1, 0, 0], [0, 1, 0]])


def test_a_cut_copy_is_found_by_its_points(photo, recoloured):
    laid = overlay_target(photo, recoloured[16:, :130])
    assert laid is not None
    assert 0.6 < laid.seen.mean() < 0.95
    assert measure_agreement(laid.reference, laid.target, laid.seen) > AGREEMENT


def test_two_photographs_are_not_one(photo, other_photo):
    assert overlay_target(photo, other_photo) is None
    assert overlay_target(np.full_like(photo, 250), np.full_like(photo, 250)) is None
