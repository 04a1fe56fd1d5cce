"""What training needs of a processor, found by preparing plain images."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.square_images import SquareImages
from mmgrad_explain.images.placement import Placement, fit


class Crops(SquareImages):
    """Square crops, normalised in a way of its own."""

    def encode_images(self, images):
        fitted = [fit(image, 32, mode="crop") for image in images]
        arrays = np.stack([np.asarray(image) for image, _ in fitted])
        values = (torch.from_numpy(arrays).float() / 255 - 0.3) / torch.tensor([0.2, 0.4, 0.5])
        return values.permute(0, 3, 1, 2), [place for _, place in fitted]


class Keeps(SquareImages):
    def encode_images(self, images):
        places = [Placement(size := (one.height, one.width), size, (1, 1), (0, 0)) for one in images]
        return torch.zeros(len(images), 3, *places[0].input), places


def test_arrays_become_what_images_become():
    pictures = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    expected, _ = Crops().encode_images([Image.fromarray(one) for one in pictures])
    torch.testing.assert_close(Crops().normalise(pictures), expected)


def test_an_image_is_fitted_for_training_as_the_processor_fits_it():
    image = Image.effect_noise((50, 90), 90).convert("RGB")
    pixels, (placement,) = Crops().encode_images([image])
    array, again = Crops().fit_image(image)
    assert (array.dtype, again) == (np.dtype(np.uint8), placement)
    torch.testing.assert_close(Crops().normalise(array[None]), pixels)


def test_the_side_and_whether_shapes_are_kept():
    assert (Crops().image_size, Crops().keeps_shapes, Keeps().keeps_shapes) == (32, False, True)
    with pytest.raises(AttributeError, match="images of this model have no one size"):
        _ = Keeps().image_size
