"""Overlays: maps on their images."""

import numpy as np
import pytest
from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images import overlay


def test_overlay_lays_the_map_on_the_picture(with_pictures, monkeypatch):
    drawn = []

    def blend(image, heat, **options):
        drawn.append((image, heat, options))
        return np.asarray(image)

    monkeypatch.setattr(overlay, "blend", blend)
    panel = with_pictures.overlay(0, alpha=0.3, colormap="magma", threshold=0.25)
    assert isinstance(panel, Image.Image)
    (reference, heat, options), (target, target_heat, _) = drawn
    assert reference is with_pictures.images[0]
    assert target is with_pictures.targets[0]
    assert np.array_equal(heat, with_pictures.heatmap(0))
    assert np.array_equal(target_heat, with_pictures.heatmap(0, target=True))
    assert options == {"alpha": 0.3, "colormap": "magma", "threshold": 0.25}
    with_pictures.overlay(1, target=False)
    assert len(drawn) == 3


def test_a_threshold_leaves_the_picture_below_it(with_pictures):
    whole, cut = (np.asarray(with_pictures.overlay(1, target=False, threshold=threshold)) for threshold in (0.0, 0.9))
    middle = whole.shape[1] // 2  # the picture is left of it, with its map on the right
    assert np.array_equal(whole[:, :middle], cut[:, :middle])
    assert not np.array_equal(whole, cut)
    with pytest.raises(InputError, match=r"threshold must be in \[0, 1\), not 1"):
        with_pictures.overlay(0, threshold=1)


def test_overlay_is_wider_with_a_target_and_differs_with_a_contour(with_pictures):
    both, alone = with_pictures.overlay(0), with_pictures.overlay(0, target=False)
    assert both.width > alone.width
    outlined = with_pictures.overlay(0, target=False, contour=True)
    assert not np.array_equal(np.asarray(outlined), np.asarray(alone))


def test_a_picture_handed_in(explanation):
    """It may have another size than the model's input."""
    pixels = np.full((50, 75, 3), 90, np.uint8)
    assert isinstance(explanation.overlay(0, image=pixels), Image.Image)
    assert isinstance(explanation.overlay(0, image=pixels, target=Image.fromarray(pixels)), Image.Image)
    with pytest.raises(InputError, match="does not know its image: pass image="):
        explanation.overlay(0)
