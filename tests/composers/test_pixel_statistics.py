"""Statistics of pixels: what they depend on, and what they do not."""

import torch

from mmgrad_explain.composers.pixel_statistics import pixel_statistics


def test_each_image_is_described_by_itself():
    pixels = torch.rand(3, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    together = pixel_statistics(pixels)
    assert (together.dtype, len(together)) == (torch.float32, 3)
    assert together.isfinite().all()
    torch.testing.assert_close(pixel_statistics(pixels[1:2]), together[1:2])


def test_light_and_colour_come_first():
    pixels = torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    found = pixel_statistics(pixels)[0]
    torch.testing.assert_close(found[:6], torch.tensor([0.5, 0.4, 0.0, 0.0, 0.0, 0.0]), atol=1e-6, rtol=0)
    assert found.isfinite().all()  # without any edge


def test_mirrored_images_are_described_alike_and_blurred_ones_are_not():
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = pixel_statistics(pixels)
    torch.testing.assert_close(pixel_statistics(pixels.flip(3)), found, atol=1e-4, rtol=1e-4)
    blurred = torch.nn.functional.avg_pool2d(pixels, 3, 1, 1)
    assert (pixel_statistics(blurred) - found).abs().max() > 0.3
