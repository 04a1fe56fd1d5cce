"""Images by timm's transform, and texts by a tokenizer of transformers."""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from mmgrad_explain.composers.towers.framing import timm_framing
from mmgrad_explain.composers.towers.processor import TwoTowerProcessor, read_tokenizer
from mmgrad_explain.errors import InputError

DATA = {"interpolation": "bilinear", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "crop_pct": 1.0}


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "make": 2, "it": 3, "red": 4}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names)


@pytest.fixture(scope="module")
def make(tokenizer):
    """A function of (H, W) to a processor of images of that size."""

    def processor(height, width):
        framing = timm_framing({**DATA, "input_size": (3, height, width), "crop_mode": "center"})
        return TwoTowerProcessor(framing, tokenizer, max_tokens=3)

    return processor


def test_an_image_is_placed_without_its_pixels(make):
    placement = make(64, 96).place((128, 128))
    assert (placement.input, placement.scale, placement.offset) == ((64, 96), (0.75, 0.75), (-16.0, 0.0))
    pixels, (encoded,) = make(64, 96).encode_images([Image.new("RGB", (128, 128))])
    assert (encoded, tuple(pixels.shape)) == (placement, (1, 3, 64, 96))


def test_arrays_become_what_images_become(make):
    processor = make(64, 64)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    expected, _ = processor.encode_images([Image.fromarray(one) for one in images])
    assert processor.image_size == 64
    torch.testing.assert_close(processor.normalise(images), expected, atol=1e-5, rtol=1e-5)
    assert not hasattr(make(64, 96), "image_size")


def test_texts_are_cut_at_the_longest(make):
    notices = []
    ids, mask = make(64, 64).encode_texts(["make it", "make it red red"], notices)
    assert ids.tolist() == [[2, 3, 0], [2, 3, 4]]
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert [(note.kind, note.samples) for note in notices] == [("cut-text", (1,))]


def test_a_tokenizer_is_read_from_a_folder(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    assert read_tokenizer(str(tmp_path))("make it red")["input_ids"] == [2, 3, 4]
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"the tokenizer in .* cannot be read"):
        read_tokenizer(str(tmp_path))
