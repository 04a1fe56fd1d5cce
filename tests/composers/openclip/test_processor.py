"""Images and texts as a model of open_clip takes them, and its tokenizers."""

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from mmgrad_explain import explain
from mmgrad_explain.composers.load import load_composer
from mmgrad_explain.composers.openclip.processor import fast_tokenizer, open_clip_tokenizer
from mmgrad_explain.errors import InputError


def test_texts_and_words(saved, picture):
    composer = saved("class token")[2]
    prepared = composer.preprocess([picture] * 2, ["", "red " * 20])
    assert [note.text for note in prepared.notices] == ["the text has 22 tokens, the model takes 12: the rest was cut"]
    assert prepared.tensors["attention_mask"].tolist() == [[0] * 12, [1] * 12]
    assert not composer(**prepared.tensors).text[0].any()
    explanation = explain(picture, "make the crescents red", model=composer, words=True)
    assert [word.text for word in explanation.words[0]] == ["make", "the", "crescents", "red"]


@pytest.mark.parametrize("text", ["a photo of a cat's 12 toys!!", "Make the Blüe crescent red... won't", "日本 ok"])
def test_the_fast_tokenizer_gives_the_same_tokens(text):
    simple = open_clip.SimpleTokenizer()
    assert fast_tokenizer(simple).encode(text).ids == [49406, *simple.encode(text), 49407]


def test_a_text_tower_of_transformers(with_roberta, picture):
    folder, model = with_roberta
    composer = load_composer(folder)
    prepared = composer.preprocess([picture] * 2, ["make it red", "a blue square make it red make"])
    assert prepared.tensors["input_ids"][0].tolist() == [1, 4, 5, 6, 2, 0, 0, 0]
    assert prepared.tensors["attention_mask"][0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    assert [note.text for note in prepared.notices] == ["the text has 9 tokens, the model takes 8: the rest was cut"]
    expected = model.encode_text(prepared.tensors["input_ids"], normalize=True)
    torch.testing.assert_close(composer(**prepared.tensors).text, expected)
    explanation = explain(picture, "make it red", model=composer, words=True)
    assert [word.text for word in explanation.words[0]] == ["make", "it", "red"]


def test_a_tokenizer_that_is_elsewhere_is_fetched(with_roberta, word_tokenizer, tmp_path, monkeypatch, no_hub):
    folder, _ = with_roberta
    word_tokenizer.save_pretrained(tmp_path / "fetched")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    asked = []
    monkeypatch.setattr(
        "mmgrad_explain.composers.load.fetch", lambda name, *_: asked.append(name) or tmp_path / "fetched"
    )
    assert load_composer(folder).processor.tokenizer.vocab_size == 10
    assert asked == ["owner/tokenizer"]
    (tmp_path / "fetched" / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"the tokenizer of .* cannot be read"):
        load_composer(folder)
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.snapshot_download", no_hub)
    with pytest.raises(InputError, match="check the network, or put its files into the model's folder"):
        load_composer(folder)


def test_options_of_a_tokenizer_never_run_code(word_tokenizer, tmp_path):
    word_tokenizer.save_pretrained(tmp_path)
    options = {"hf_tokenizer_name": "a/b", "tokenizer_kwargs": {"trust_remote_code": True, "clean": "lower"}}
    made = open_clip_tokenizer(options, tmp_path)
    assert made.context_length == 77
    assert made(["RED"]).shape == (1, 77)


def test_a_tokenizer_of_transformers_is_saved_too(with_roberta, tmp_path):
    composer = load_composer(with_roberta[0])
    composer.save_pretrained(str(tmp_path / "again"))
    again = load_composer(tmp_path / "again")
    (ids, mask), expected = (one.processor.encode_texts(["make it red", "a"]) for one in (again, composer))
    assert torch.equal(ids, expected[0])
    assert torch.equal(mask, expected[1])
    torch.testing.assert_close(again.embed_text(ids, mask), composer.embed_text(ids, mask))


def test_arrays_become_what_images_become(saved, square):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    expected, _ = square.processor.encode_images([Image.fromarray(one) for one in pictures])
    assert square.processor.image_size == 32
    torch.testing.assert_close(square.processor.normalise(pictures), expected, atol=1e-5, rtol=1e-5)
    assert not hasattr(saved("class token")[2].processor, "image_size")  # 32 x 48


def test_a_mark_is_found_again_on_the_image(saved):
    """A mark on the original's own pixels, through resize and crop and back."""
    composer = saved("class token")[2]
    pixels = np.full((96, 80, 3), 128, np.uint8)
    marked = pixels.copy()
    marked[40:50, 60:70] = (255, 0, 0)
    tensor, places = composer.processor.encode_images([Image.fromarray(pixels), Image.fromarray(marked)])
    found = places[1].to_original((tensor[1] - tensor[0]).square().sum(0).numpy())
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert 40 <= y < 50
    assert 60 <= x < 70
