"""A processor that pads long images: what another one makes of them, its arrays for training, and its placements."""

import numpy as np
import torch
from PIL import Image

from mmgrad_explain.composers.padded_images import PaddedProcessor
from mmgrad_explain.composers.processor import SquareProcessor
from mmgrad_explain.images.ratio_padding import pad_to_ratio


def test_training_sees_what_everything_else_sees():
    inner = SquareProcessor(lambda text: [len(text)], 32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    inner.fit = "crop"
    padded = PaddedProcessor(inner, 1.25)
    image = Image.effect_noise((90, 30), 90).convert("RGB")
    pixels, (placement,) = padded.encode_images([image])
    array, again = padded.fit_image(image)
    assert array.dtype == np.uint8
    assert placement == again
    torch.testing.assert_close(padded.normalise(array[None]), pixels)
    torch.testing.assert_close(pixels, inner.encode_images([pad_to_ratio(image, 1.25)])[0])
    assert placement.original == (30, 90)
    assert placement.seen().mean() < 1
    assert padded.image_size == 32
    assert padded(images=[image], texts=["two"]).tensors["input_ids"].tolist() == [[3]]
