"""Pictures and words to tensors."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.composers.reference.processor import ReferenceProcessor
from mmgrad_explain.errors import InputError
from mmgrad_explain.notes import Note


@pytest.fixture
def processor(tokenizer):
    return ReferenceProcessor(tokenizer, image_size=32, max_words=6)


def test_case_punctuation_and_accents_do_not_matter(processor):
    plain = processor.encode_texts(["make it red"])[0]
    for text in ("Make it RED!", "  make   it, red.", "máke it red", "make it 'red'"):
        notices = []
        assert torch.equal(processor.encode_texts([text], notices)[0], plain)
        assert not notices


def test_unknown_words_are_left_out_and_said(processor):
    notices = []
    ids, mask = processor.encode_texts(["make the dress red", "make it red"], notices)
    said = "'make the dress red': the model does not know 'dress'; left out, read as 'make the red'"
    assert notices == [Note("unknown-words", said, (0,))]
    assert mask.sum(1).tolist() == [3, 3]
    assert (ids > 1).all()


def test_words_that_leave_the_reading_as_it_is_are_not_named(processor):
    """Unlike those that turn it around: "no", "less"."""
    notices = []
    ids, _ = processor.encode_texts(["Could we just make it slightly red?", "make it red"], notices)
    assert torch.equal(ids[0], ids[1])
    assert not notices
    assert processor.unknown_words(["not red please", "less red"]) == ["not", "less"]


def test_a_text_of_unknown_words_alone_is_empty(processor):
    notices = []
    _, mask = processor.encode_texts(["abracadabra"], notices)
    assert mask.sum() == 0
    assert "does not know 'abracadabra'" in notices[0].text


def test_a_long_text_is_cut_and_said(processor):
    notices = []
    ids, _ = processor.encode_texts(["red " * 9], notices)
    assert ids.shape == (1, 6)
    assert notices == [Note("cut-text", "the text has 9 words, the model takes 6: the rest was cut", (0,))]


def test_pictures_are_letterboxed_and_normalised(processor):
    white = Image.new("RGB", (80, 40), "white")
    inputs = processor([white], ["make it red"])
    pixels = inputs.tensors["pixel_values"]
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels.dtype == torch.float32
    assert pixels[0, 0, 16, 16] == 2.0  # (1 - 0.5) / 0.25
    np.testing.assert_allclose(pixels[0, :, 0], (127 / 255 - 0.5) / 0.25, rtol=1e-5)
    assert inputs.placements[0].original == (40, 80)
    assert inputs.target_placements is None


def test_targets_have_their_own_placement(processor):
    inputs = processor([Image.new("RGB", (80, 40))], ["make it red"], [Image.new("RGB", (20, 40))])
    assert inputs.target_placements[0].original == (40, 20)
    assert inputs.tensors["target_pixel_values"].shape == (1, 3, 32, 32)


def test_counts_must_agree(processor):
    picture = Image.new("RGB", (8, 8))
    with pytest.raises(InputError, match=r"one text .* for each image, got 2 images, 1 texts"):
        processor([picture, picture], ["make it red"])
    with pytest.raises(InputError, match="1 images, 1 texts, 2 targets"):
        processor([picture], ["make it red"], [picture, picture])


def test_save_and_load(processor, tmp_path):
    processor.save_pretrained(tmp_path / "new" / "folder")
    again = ReferenceProcessor.from_pretrained(tmp_path / "new" / "folder")
    assert {k: v for k, v in vars(again).items() if k != "tokenizer"} == {
        k: v for k, v in vars(processor).items() if k != "tokenizer"
    }
    assert torch.equal(again.encode_texts(["make it red"])[0], processor.encode_texts(["make it red"])[0])


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer.json"])
def test_damaged_files_say_which(processor, tmp_path, name):
    processor.save_pretrained(tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(InputError, match=tmp_path.name):
        ReferenceProcessor.from_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="holds no usable processor"):
        ReferenceProcessor.from_pretrained(tmp_path)
