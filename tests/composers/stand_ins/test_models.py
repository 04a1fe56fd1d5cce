"""What a stand-in is made of: small, the same every time, with tokens for any text."""

import json

import pytest
import torch

from mmgrad_explain import explain, load_composer
from mmgrad_explain.composers.stand_ins.build import stand_in
from mmgrad_explain.composers.stand_ins.models import WORDS


def test_it_is_small_and_the_same_every_time(kind, folders, tmp_path, composer):
    assert 300_000 < sum(value.numel() for value in composer.parameters()) < 600_000
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = stand_in(kind, tmp_path / "deep" / "again")
    assert torch.equal(torch.rand(1), expected)
    files = sorted(path.name for path in again.iterdir())
    assert files == sorted(path.name for path in folders[kind].iterdir())
    for name in files:
        assert (again / name).read_bytes() == (folders[kind] / name).read_bytes(), name
        assert (again / name).stat().st_mode == (again / "config.json").stat().st_mode


@pytest.mark.parametrize("text", ["a small striped cat", "Zwölf Boxkämpfer", "日本 🐈", "x_y/z\t#1"])
def test_any_text_has_tokens(text, composer, kind):
    tokenizer = composer.processor.tokenizer
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token is None
    said = tokenizer.decode(ids, skip_special_tokens=True)
    assert said == (text if kind == "llava" else text.lower())


def test_everyday_words_are_one_token_each(composer):
    tokenizer = composer.processor.tokenizer
    assert all(len(tokenizer.tokenize(word)) == 1 for word in WORDS.split())
    assert len(tokenizer.tokenize("sunglasses")) > 1


def test_it_says_a_few_everyday_words(folders, photo):
    composer = load_composer(folders["llava"])
    answers = explain([photo] * 3, ["What is this?", "is it red?", "x"], model=composer).answers
    for answer in answers:
        words = answer.split()
        assert 2 <= len(words) <= 12
        assert len(set(words)) == len(words)
        assert set(words) <= set(WORDS.split())


@pytest.mark.parametrize("kind", ["clip", "llava"], indirect=True)
def test_the_config_has_the_real_models_sizes(kind, folders):
    config = json.loads((folders[kind] / "config.json").read_text())
    vision, positions = config["vision_config"], config["text_config"]["max_position_embeddings"]
    sizes = {"clip": (224, 32, 77), "llava": (336, 14, 4096)}[kind]
    assert (vision["image_size"], vision["patch_size"], positions) == sizes
