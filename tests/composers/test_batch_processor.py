"""What processors share: fitted images, batches, and the settings in a folder."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.batch_processor import FittedImages, SavedProcessor
from mmgrad_explain.composers.reference.tokenizer import build_tokenizer
from mmgrad_explain.errors import InputError


class Letters(FittedImages, SavedProcessor):
    """The first token of each text."""

    def __init__(self, tokenizer, image_size=16, mean=0.5, std=0.25, fit="letterbox", fill=0):
        self.tokenizer = tokenizer
        self.image_size, self.mean, self.std, self.fit, self.fill = image_size, mean, std, fit, fill

    def encode_texts(self, texts, notices=None):
        ids = torch.tensor([[self.tokenizer.encode(text).ids[0]] for text in texts])
        return ids, torch.ones_like(ids)


@pytest.fixture
def processor():
    return Letters(build_tokenizer(["make", "red"]))


def test_a_batch_has_all_tensors_and_placements(processor):
    image, target = Image.new("RGB", (32, 16), "white"), Image.new("RGB", (8, 8))
    inputs = processor([image], ["red"], [target])
    assert {name: tuple(value.shape) for name, value in inputs.tensors.items()} == {
        "pixel_values": (1, 3, 16, 16), "input_ids": (1, 1), "attention_mask": (1, 1),
        "target_pixel_values": (1, 3, 16, 16),
    }  # fmt: skip
    assert (inputs.placements[0].original, inputs.target_placements[0].original) == ((16, 32), (8, 8))
    with pytest.raises(InputError, match="got 1 images, 2 texts"):
        processor([image], ["make", "red"])


@pytest.mark.parametrize(("fit", "corner"), [("letterbox", -2.0), ("crop", 2.0)])
def test_images_are_fitted_into_the_square(fit, corner, processor):
    processor.fit = fit
    pixels, _ = processor.encode_images([Image.new("RGB", (32, 16), "white")])
    assert (pixels[0, 0, 0, 0], pixels[0, 0, 8, 8]) == (corner, 2.0)


def test_one_number_or_one_a_channel(processor):
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    single = processor.normalise(images)
    processor.mean, processor.std = (0.5,) * 3, (0.25,) * 3
    torch.testing.assert_close(processor.normalise(images), single)


def test_a_folder_keeps_settings_and_tokenizer(processor, tmp_path):
    processor.save_pretrained(tmp_path / "a" / "b")
    again = Letters.from_pretrained(tmp_path / "a" / "b")
    assert {**vars(again), "tokenizer": None} == {**vars(processor), "tokenizer": None}
    assert again.encode_texts(["red"])[0].equal(processor.encode_texts(["red"])[0])
    path = tmp_path / "a" / "b" / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": 1}))
    with pytest.raises(InputError, match=r"holds no usable processor.*colour"):
        Letters.from_pretrained(tmp_path / "a" / "b")
