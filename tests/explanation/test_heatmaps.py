"""Maps read on the pixels of the original images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import fit


def test_heatmap_without_a_placement(explanation):
    heat = explanation.heatmap(0)
    assert heat.shape == (16, 24), "the model input's pixels"
    assert heat.dtype == np.float32
    assert heat.max() == 1
    assert heat.min() == 0
    assert replace(explanation, input_size=None).heatmap(0).shape == (4, 6)
    assert replace(explanation, input_size=None).heatmap(0, normalize=False).max() == 2
    assert np.array_equal(explanation.heatmap(-1), explanation.heatmap(1))


def test_heatmap_on_the_original_pixels(with_pictures):
    heat = with_pictures.heatmap(0)
    assert heat.shape == (32, 48)
    assert with_pictures.peak(0) == np.unravel_index(heat.argmax(), heat.shape)
    y, x = with_pictures.peak(0)
    assert (y // 8, x // 8) == (3, 1), "the bright cell, eight original pixels wide"
    y, x = with_pictures.peak(0, target=True)
    assert (y // 16, x // 16) == (0, 2)


@pytest.mark.parametrize("mode", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(90, 30), (30, 90), (40, 60)])
def test_a_dot_is_found_again(mode, size):
    """A bright dot in a picture of any shape, through the model's input and back."""

    class Bright(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.AvgPool2d(4)

        def forward(self, x):
            return self.layer(x).square().sum((1, 2, 3))

    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    y, x = size[1] // 2 + 6, size[0] // 2 - 7
    pixels[y - 3 : y + 4, x - 3 : x + 4] = 255
    picture, placement = fit(Image.fromarray(pixels), 64, mode=mode, fill=(0, 0, 0))
    made = MMGrad(Bright(), "layer")(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255.0)
    found = replace(made, placements=(placement,)).peak(0)
    assert abs(found[0] - y) <= 4
    assert abs(found[1] - x) <= 4


def test_flat_maps_are_zeros(explanation):
    even = torch.full((1, 4, 6), 3.0)
    flat = replace(explanation, calls=(even,), flat=torch.tensor([True]))
    assert (flat.heatmap(0) == 0).all()
    assert flat.concentration(0) == 0
    with pytest.raises(InputError, match="map of sample 0 is flat: it has no peak"):
        flat.peak(0)


def test_concentration(explanation):
    grid = replace(explanation, input_size=None)
    assert grid.concentration(0) == 1
    brightest = sorted(range(24), reverse=True)[:12]
    assert grid.concentration(1, 0.5) == pytest.approx(sum(brightest) / sum(range(24)))
    assert grid.concentration(1, 1.0) == 1
    assert grid.concentration(0, 0.2, target=True) == 1
    for fraction in (0, 1.5):
        with pytest.raises(InputError, match=rf"fraction must be in \(0, 1\], not {fraction}"):
            grid.concentration(0, fraction)


def test_brightest_region(explanation):
    region = replace(explanation, input_size=None).brightest_region(0)
    assert (region.share, region.box) == (1.0, (1, 3, 2, 4))
