"""SPRC's processor: BLIP-2's stretch, or the padding and crop of the paper's code."""

import pytest
import transformers
from PIL import Image

from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor
from mmgrad_explain.composers.sprc.processor import LONGEST, sprc_processor
from mmgrad_explain.errors import InputError


class Tokenizer:
    pad_token, model_max_length = "[PAD]", 512


@pytest.fixture
def blip():
    return HuggingFaceProcessor(transformers.BlipImageProcessor(size={"height": 32, "width": 32}), Tokenizer(), 512)


def test_a_long_image_is_stretched_or_padded_and_cropped(blip):
    image = Image.new("RGB", (90, 30), "white")
    stretched, padded = sprc_processor(blip, None), sprc_processor(blip, 1.25)
    assert stretched.max_tokens == padded.inner.max_tokens == LONGEST
    assert blip.max_tokens == 512
    (scale,) = (placement.scale for placement in stretched.encode_images([image])[1])
    assert scale == (32 / 30, 32 / 90)
    pixels, (placement,) = padded.encode_images([image])
    assert placement.scale[0] == pytest.approx(placement.scale[1], rel=0.02)
    assert (pixels[0, 0, 0, 16], pixels[0, 0, 16, 16]) == (pixels.min(), pixels[0, 0].max())  # a bar, and the image
    with pytest.raises(InputError, match="pad_ratio is the ratio"):
        sprc_processor(blip, 0)
