"""A small random CLIP in a folder, a tokenizer of whole words, and each family as a small random model in a folder."""

import copy
import functools
import importlib.util
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedTokenizerFast,
)

from mmgrad_explain.composers.load import load_composer

_SPEC = importlib.util.spec_from_file_location("small", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)

CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
WORDS = ["<pad>", "<start>", "make", "it", "red", "blue", "<unk>", "<end>"]


@pytest.fixture(scope="session")
def word_tokenizer():
    """Build a tokenizer of a few whole words; special tokens by name."""

    def build(**names):
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 7)]
        )
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **names)

    return build


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory, word_tokenizer):
    folder = tmp_path_factory.mktemp("clip")
    word_tokenizer(pad_token="<pad>", eos_token="<end>").save_pretrained(folder)
    CLIPImageProcessor(**CROP).save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 1, "eos_token_id": 7, "pad_token_id": 0}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config={**small, **ids, "vocab_size": len(WORDS), "max_position_embeddings": 6},
            vision_config={**small, "image_size": 32, "patch_size": 8},
            projection_dim=8,
        )
    )
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(clip_folder, tmp_path):
    return shutil.copytree(clip_folder, tmp_path / "model")


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Kind to its folder and the model that was saved there, made when it is first asked for."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[kind] = folder, small.save_model(kind, folder)
        return made[kind]

    return get


@pytest.fixture(params=sorted(small.FAMILIES))
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def loaded_once(saved):
    return functools.cache(lambda kind: load_composer(saved(kind)[0]))


@pytest.fixture
def loaded(kind, saved, loaded_once):
    """A composer of one's own, and the model that was saved; a copy takes a fifth of loading."""
    return copy.deepcopy(loaded_once(kind)), saved(kind)[1]
