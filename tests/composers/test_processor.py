"""The processor for a model of one's own: any tokenizer, square images, and what training asks of it."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.processor import SquareProcessor
from mmgrad_explain.composers.reference.tokenizer import build_tokenizer
from mmgrad_explain.errors import InputError


def lengths(text):
    return [len(word) for word in text.split()]


class Encodes:
    def encode(self, text):
        return lengths(text)


@pytest.mark.parametrize("tokenizer", [lengths, Encodes()])
def test_texts_are_padded_and_cut(tokenizer):
    processor = SquareProcessor(tokenizer, 32, max_tokens=3, padding=7)
    notices = []
    ids, mask = processor.encode_texts(["a bb", "a bb ccc dddd", ""], notices)
    assert ids.tolist() == [[1, 2, 7], [1, 2, 3], [7, 7, 7]]
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert [(note.kind, note.text, note.samples) for note in notices] == [
        ("cut-text", "the text has 4 tokens, the model takes 3: the rest was cut", (1,))
    ]


def test_a_tokenizer_of_tokenizers():
    ids, mask = SquareProcessor(build_tokenizer(["make", "it", "red"]), 32).encode_texts(["Make it red!", "it"])
    assert ids.tolist() == [[2, 3, 4], [3, 0, 0]]
    assert mask.sum() == 4


def test_a_tokenizer_that_gives_no_ids():
    with pytest.raises(
        InputError, match=r"the tokenizer builtin_function_or_method must give a list of ids .* not list"
    ):
        SquareProcessor(sorted, 32).encode_texts(["abc"])
    with pytest.raises(InputError, match="image_size must be a whole number from 1"):
        SquareProcessor(lengths, 0)
    with pytest.raises(TypeError, match=r"tokenizer must be one of tokenizers or transformers, .*got NoneType"):
        SquareProcessor(None)


def test_images_are_letterboxed_and_normalised_as_training_has_them():
    processor = SquareProcessor(lengths, 32, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0), fill=0)
    image = Image.new("RGB", (64, 32), (255, 0, 51))
    pixels, (placement,) = processor.encode_images([image])
    assert pixels.shape == (1, 3, 32, 32)
    torch.testing.assert_close(pixels[0, :, 16, 16], torch.tensor([1.0, -1.0, 0.2]))
    torch.testing.assert_close(pixels[0, :, 0, 0], torch.tensor([-1.0, -1.0, 0.0]))
    assert placement.original == (32, 64)
    again = processor.normalise(np.full((1, 32, 32, 3), (255, 0, 51), np.uint8))
    torch.testing.assert_close(again[0, :, 5, 5], pixels[0, :, 16, 16])


def test_one_number_stands_for_all_channels():
    pictures = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), np.uint8)
    one, three = SquareProcessor(lengths, 8, 0.4, 0.2), SquareProcessor(lengths, 8, [0.4] * 3, [0.2] * 3)
    torch.testing.assert_close(one.normalise(pictures), three.normalise(pictures))
