"""Where a photograph was changed."""

import numpy as np
from PIL import Image

from mmgrad_explain.data.masks.pixel_difference import mark_difference


def _resize(mask, shape):
    return np.asarray(Image.fromarray(mask).resize(shape[::-1]))


def test_the_change_is_marked_in_both_images_of_any_size(photo, recoloured):
    larger = np.asarray(Image.fromarray(recoloured).resize((240, 180)))
    for target in (recoloured, larger):
        for mask in mark_difference(photo, target):
            marked = _resize(mask, (120, 160)) > 0.3
            inside = marked[40:80, 48:96]
            assert inside.mean() > 0.6
            assert inside.sum() > 0.8 * marked.sum()


def test_what_shows_no_change_is_refused(photo, other_photo):
    assert mark_difference(photo, other_photo) == "reference and target are different photographs"
    assert mark_difference(photo, photo) == "reference and target hardly differ"
    brighter = np.clip(photo + 20.0, 0, 255).astype(np.uint8)
    assert mark_difference(photo, brighter) == "reference and target hardly differ"
