"""An explanation of two samples with a target, without and with its images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.explanation import Explanation
from mmgrad_explain.images.placement import Placement


@pytest.fixture
def explanation():
    """Two samples, two calls, a bright cell in the lower left of the first map."""
    maps = torch.zeros(2, 4, 6)
    maps[0, 3, 1] = 2.0
    maps[1] = torch.arange(24.0).view(4, 6)
    other = torch.zeros(2, 2, 3)
    other[0, 0, 2] = 1.0
    flat = torch.tensor([False, False])
    layers = {"tower.body": [maps, other]}
    return Explanation(
        calls=(maps, other),
        score=torch.tensor([0.5, 0.25]),
        score_name="pair",
        method="gradcam",
        layers=layers,
        signed={"tower.body": [maps - 1, other]},
        layouts={"tower.body": ("nchw", "nchw")},
        flat=flat,
        clipped=flat,
        input_size=(16, 24),
        versions={"torch": "x"},
        model="Model",
    )


@pytest.fixture
def with_pictures(explanation):
    """The same with pictures twice the model's input, a target among them."""
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    pictures = tuple(Image.fromarray(pixels + shade) for shade in (0, 1))
    placement = Placement((32, 48), (16, 24), (0.5, 0.5), (0.0, 0.0))
    return replace(
        explanation,
        texts=("make it red", "schöner"),
        images=pictures,
        placements=(placement,) * 2,
        targets=pictures,
        target_placements=(placement,) * 2,
    )
