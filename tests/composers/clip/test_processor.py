"""Images and texts as a CLIP takes them, and the processor's files."""

import json
import shutil

import numpy as np
import pytest

from mmgrad_explain.composers.clip.composer import ClipComposer
from mmgrad_explain.composers.clip.processor import MEAN, STD, ClipProcessor
from mmgrad_explain.errors import InputError


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_pictures_are_normalised_and_can_be_found_again(clip_folder, picture, fit):
    composer = ClipComposer.from_clip(clip_folder, fit=fit)
    prepared = composer.preprocess([picture], ["make it red"])
    pixels = prepared.tensors["pixel_values"][0].permute(1, 2, 0).numpy() * STD + MEAN
    assert prepared.placements[0].input == (32, 32)
    red = (pixels[..., 0] > 0.75) & (pixels[..., 1] < 0.25)
    back = prepared.placements[0].to_original(red.astype(np.float32)) > 0.5
    rows, columns = np.nonzero(back)
    assert (rows.mean(), columns.mean()) == pytest.approx((13.5, 36.5), abs=1.5)


def test_clips_own_crop(clip_folder, picture):
    """The picture fills the square and its sides are cut, as CLIP's own preprocessing has it."""
    processor = ClipComposer.from_clip(clip_folder, fit="crop").processor
    _, (placement,) = processor.encode_images([picture])
    assert placement.scale[0] == pytest.approx(32 / 40, abs=0.02)
    assert placement.offset[1] < 0


def test_own_mean_and_deviation_are_read(clip_folder, tmp_path):
    shutil.copytree(clip_folder, tmp_path / "own")
    (tmp_path / "own" / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [1] * 3})
    )
    processor = ClipComposer.from_clip(tmp_path / "own").processor
    assert processor.mean == (0.5, 0.5, 0.5)
    assert processor.normalise(np.full((1, 2, 2, 3), 255, np.uint8)).unique().tolist() == [0.5]


def test_long_texts_are_cut_with_their_end(composer, picture):
    prepared = composer.preprocess([picture], ["make the red make the blue make it"])
    assert prepared.tensors["input_ids"].tolist() == [[1, 3, 4, 6, 3, 2]]
    assert [note.text for note in prepared.notices] == ["the text has 10 tokens, CLIP takes 6: the rest was cut"]
    assert composer.processor.encode_texts(["make the red make the blue make it"])[0].shape == (1, 6)


def test_a_text_for_each_picture(composer, picture):
    with pytest.raises(InputError, match="got 1 images, 2 texts, 1 targets"):
        composer.preprocess([picture], ["a", "b"], [picture])
    with pytest.raises(InputError, match=r"got 1 images, 2 texts$"):
        composer.preprocess([picture], ["a", "b"])


def test_processors_that_cannot_be_read(composer, tmp_path):
    composer.processor.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is not a tokenizer"):
        ClipProcessor.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="holds no usable processor"):
        ClipProcessor.from_pretrained(tmp_path)
