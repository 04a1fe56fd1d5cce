"""Triplets of coloured squares, and a composer that knows two colours."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.base import Composer, ComposerInputs
from mmgrad_explain.composers.reference.network import ComposedOutput
from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet
from mmgrad_explain.images.placement import fit
from mmgrad_explain.notes import Note

RED, BLUE, GREY = (230, 30, 30), (30, 30, 230), (120, 120, 120)


def painted(left, right):
    """A picture twice as wide as high: a square on the left, one on the right."""
    pixels = np.full((32, 64, 3), GREY, np.uint8)
    pixels[10:22, 6:18], pixels[10:22, 46:58] = left, right
    return Image.fromarray(pixels)


def region(left):
    mask = np.zeros((32, 64), bool)
    mask[10:22, 6 : 18 if left else 58] = True
    if not left:
        mask[:, :46] = False
    return mask


@pytest.fixture
def triplets():
    before = painted(RED, BLUE)
    return [
        PhotoTriplet("a", before, painted(BLUE, BLUE), "make the red one blue", region(left=True), "recolour", "p"),
        PhotoTriplet("b", before, painted(RED, RED), "make the blue one red", region(left=False), "recolour", "p"),
        PhotoTriplet(
            "c",
            painted(RED, GREY),
            before,
            "add a blue square on the right",
            region(left=False),
            "add",
            "q",
            on_target=True,
        ),
    ]


class Colours(Composer):
    """Knows two words, and looks at the channel of the colour that is named first."""

    target_layer = "grid"
    default_score = "shift"

    def __init__(self):
        super().__init__()
        self.grid = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Softshrink(0.6))  # nothing grey is left
        self.scale = torch.nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))

    def preprocess(self, images, texts, targets=None):
        def made(pictures):
            fitted = [fit(picture, 64, mode="letterbox", fill=(0, 0, 0)) for picture in pictures]
            pixels = np.stack([np.asarray(one) for one, _ in fitted])
            return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, [placement for _, placement in fitted]

        words = [min((text.find(c), i) for i, c in ((0, "red"), (2, "blue")) if c in text)[1] for text in texts]
        pixels, placements = made(images)
        target_pixels, target_placements = made(targets)
        tensors = {"pixel_values": pixels, "target_pixel_values": target_pixels, "colour": torch.tensor(words)}
        return ComposerInputs(tensors, placements, target_placements, [Note("caution", "seen")])

    def embed(self, pixel_values, colour):
        vector = self.grid(pixel_values).mean((2, 3)) * self.scale
        shift = torch.nn.functional.one_hot(colour, 3).to(vector) * vector
        return vector + 0.1, shift

    def forward(self, pixel_values, colour, target_pixel_values=None):
        own, shift = self.embed(pixel_values, colour)
        if target_pixel_values is None:
            return ComposedOutput(own + shift, shift)
        target, target_shift = self.embed(target_pixel_values, colour)
        return ComposedOutput(own + shift, shift, target, target_shift, target + target_shift)


@pytest.fixture
def colours():
    return Colours()
