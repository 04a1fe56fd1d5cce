"""Images and texts by a model's own processor: sizes, geometry that is refused, texts that are cut, padding."""

import pytest
import torch
from PIL import Image
from transformers import (
    BridgeTowerImageProcessor,
    CLIPImageProcessor,
)

from mmgrad_explain.composers.huggingface.processor import HuggingFaceProcessor
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.errors import InputError

CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


def test_pictures_of_several_sizes(picture, word_tokenizer):
    processor = HuggingFaceProcessor(
        CLIPImageProcessor(do_resize=False, do_center_crop=False), word_tokenizer(pad_token="<pad>"), 8
    )
    with pytest.raises(
        InputError, match=r"have different sizes for this model \(40 x 60, 60 x 40\): explain them one at"
    ):
        processor.encode_images([picture, picture.transpose(Image.Transpose.TRANSPOSE)])


def test_a_processor_that_does_something_else(picture, word_tokenizer):
    class Own:
        do_resize, size, do_center_crop = True, {"height": 8, "width": 8}, False

        def __call__(self, images, return_tensors):
            return {"pixel_values": torch.zeros(1, 3, 9, 8)}

    with pytest.raises(InputError, match="gives images of 9 x 8 pixels, its settings give 8 x 8"):
        HuggingFaceProcessor(Own(), word_tokenizer(pad_token="<pad>"), 8).encode_images([picture])


def test_long_texts_are_cut_with_their_end(clip_folder, picture):
    composer = load_composer(clip_folder)
    prepared = composer.preprocess([picture] * 2, ["make it red make it blue", "red"])
    assert prepared.tensors["input_ids"].tolist() == [[1, 2, 3, 4, 2, 7], [1, 4, 7, 0, 0, 0]]
    assert prepared.tensors["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert [note.text for note in prepared.notices] == ["the text has 8 tokens, the model takes 6: the rest was cut"]
    assert composer.processor.encode_texts([" "])[1].tolist() == [[0, 0]]


def test_a_tokenizer_that_cannot_pad(word_tokenizer):
    with pytest.raises(InputError, match="the tokenizer has no padding token: name one as pad_token"):
        HuggingFaceProcessor(CLIPImageProcessor(**CROP), word_tokenizer(), 8)


def test_a_geometry_that_is_not_known_is_refused_at_once(word_tokenizer):
    with pytest.raises(InputError, match="uses do_pad, which cannot be undone on the map"):
        HuggingFaceProcessor(CLIPImageProcessor(**CROP, do_pad=True), word_tokenizer(pad_token="<pad>"), 8)


def test_a_crop_is_named_by_its_edge(word_tokenizer):
    own = BridgeTowerImageProcessor(size={"shortest_edge": 48}, crop_size={"height": 32, "width": 32})
    HuggingFaceProcessor(own, word_tokenizer(pad_token="<pad>"), 8)
    assert dict(own.crop_size) == {"shortest_edge": 32}
