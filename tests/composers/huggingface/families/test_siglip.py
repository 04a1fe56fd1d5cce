"""SigLIP's texts, and the images of SigLIP 2 NaFlex in their own shape."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain import explain
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).parents[1] / "small_models.py")
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)
pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty


@pytest.mark.parametrize("kind", ["siglip"], indirect=True)
def test_siglip_reads_its_padding(loaded, picture):
    """As in its training: filled up to its length, nothing masked."""
    composer, model = loaded
    inputs = composer.preprocess([picture], small.TEXTS[:1]).tensors
    assert inputs["input_ids"].tolist() == [[1, 2, 4, 5, 10, 0, 0, 0]]
    expected = model.text_model(input_ids=inputs["input_ids"]).pooler_output
    torch.testing.assert_close(composer(**inputs).text, torch.nn.functional.normalize(expected))


@pytest.mark.parametrize("kind", ["siglip2"], indirect=True)
def test_naflex_pictures_keep_their_shape(loaded, picture):
    """The patches are put together to the picture they were cut from; each shape of pictures is a batch of its own."""
    composer, _ = loaded
    upright = picture.transpose(Image.Transpose.TRANSPOSE)
    for image, grid in ((picture, (3, 5)), (upright, (5, 3))):
        prepared = composer.preprocess([image], small.TEXTS[:1])
        (placement,) = prepared.placements
        assert placement.input == (8 * grid[0], 8 * grid[1])
        resized = np.asarray(image.resize(placement.input[::-1], Image.Resampling.BILINEAR)) / 127.5 - 1
        assert np.abs(prepared.tensors["pixel_values"][0].permute(1, 2, 0).numpy() - resized).max() < 0.02
        assert explain(image, small.TEXTS[0], model=composer).maps.shape == (1, *grid)
    message = r"different sizes for this model \(24 x 40, 40 x 24\): explain them one at a time, a target with"
    with pytest.raises(InputError, match=message):
        explain([picture, upright], small.TEXTS[0], model=composer)
    with pytest.raises(InputError, match=message):
        explain(picture, small.TEXTS[0], upright, composer)
