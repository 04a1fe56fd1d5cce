"""ViLT's patches row by row, and its scores of image and text together."""

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmgrad_explain import explain
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).parents[1] / "small_models.py")
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)
pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")  # random: a map may be empty


@pytest.mark.parametrize("kind", ["vilt"], indirect=True)
def test_vilts_patches_stand_row_by_row(loaded, picture):
    """However often they are drawn, and all of them, though the model itself would take no more than it was told."""
    composer, model = loaded
    composer.model.vilt.embeddings.config.max_image_length = 7
    pixels = composer.preprocess([picture, picture.rotate(180)], small.TEXTS).tensors["pixel_values"]
    first, second = composer.encode_image(pixels), composer.encode_image(pixels)
    assert torch.equal(first, second)
    patches = model.vilt.embeddings.patch_embeddings(pixels).flatten(2).transpose(1, 2)
    given = model.vilt.embeddings.position_embeddings[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    places = torch.nn.functional.interpolate(given, (4, 6), mode="bilinear", align_corners=True)
    torch.testing.assert_close(first[:, 1:], patches + places.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("kind", ["vilt"], indirect=True)
def test_vilt_knows_picture_and_text_only_together(loaded, picture):
    composer, model = loaded
    upright = picture.transpose(Image.Transpose.TRANSPOSE)
    assert explain(picture, small.TEXTS[0], model=composer).maps.shape == (1, 4, 6)
    assert explain(upright, small.TEXTS[0], model=composer).maps.shape == (1, 6, 4)
    with pytest.raises(InputError, match=r"different sizes for this model \(32 x 48, 48 x 32\): explain them one at"):
        explain(picture, small.TEXTS[0], upright, composer)
    target = picture.rotate(180)
    output = composer(**composer.preprocess([picture] * 2, ["", small.TEXTS[0]], [target] * 2).tensors)
    inputs = composer.preprocess([target], [small.TEXTS[0]]).tensors
    pooled = model.vilt(**inputs, pixel_mask=torch.ones_like(inputs["pixel_values"][:, 0])).pooler_output[0]
    torch.testing.assert_close(output.target_composed[1], pooled, atol=1e-5, rtol=1e-4)
    assert output.match.isfinite().all()
    assert len(explain(picture, small.TEXTS[0], target, composer, score="pair").calls) == 2
    for score, message in (
        ("image-text", "this model gives none: use its default score"),
        ("shift", "needs an output with .shift or .empty"),
        ("similarity", "needs a target embedding"),
    ):
        with pytest.raises(InputError, match=message):
            explain(picture, small.TEXTS[0], target, composer, score=score)


@pytest.mark.parametrize("kind", ["vilt"], indirect=True)
def test_only_the_encoder_has_patches_behind_the_words(loaded, picture):
    composer, _ = loaded
    tensors = composer.preprocess([picture], small.TEXTS[:1]).tensors
    assert composer.layout_for("model.vilt.embeddings.patch_embeddings", **tensors) is None
    layout = composer.layout_for("model.vilt.encoder.layer.0", **tensors)
    words = tensors["input_ids"].shape[1]
    tokens = torch.arange(words + 1 + 24.0).reshape(1, -1, 1)
    assert layout(tokens)[0, 0].tolist() == torch.arange(words + 1.0, words + 25).reshape(4, 6).tolist()
