"""A user's files of published weights, small and random."""

import importlib.util
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

_SPEC = importlib.util.spec_from_file_location("forwards", Path(__file__).with_name("forwards.py"))
_forwards = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_forwards)


@pytest.fixture(scope="session")
def forwards():
    return _forwards


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory):
    """A fine-tuned CLIP as CLIP4Cir saves one, in half precision in part, as OpenAI's are; and its weights."""
    weights = _forwards.clip_weights()
    weights["visual.conv1.weight"] = weights["visual.conv1.weight"].half()
    file = tmp_path_factory.mktemp("clip") / "cirr_clip.pt"
    torch.save({"epoch": 3, "CLIP": weights}, file)
    return file, {name: value.float() for name, value in weights.items()}


@pytest.fixture(scope="session")
def blip2_folder(tmp_path_factory):
    """BLIP-2's image processor and tokenizer, small."""
    folder = tmp_path_factory.mktemp("blip2")
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "make", "it", "red", "is", "darker", "and", "has", "no", "sleeves"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    transformers.BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sprc_files(tmp_path_factory):
    """SPRC's checkpoints with either vision tower, and their weights."""
    folder, files = tmp_path_factory.mktemp("sprc"), {}
    for name, large in (("ViT-g", False), ("ViT-L", True)):
        weights = _forwards.sprc_weights(large)
        torch.save({"epoch": 1, "Blip2QformerCirAlignPrompt": weights}, folder / f"{name}.pt")
        files[name] = folder / f"{name}.pt", weights
    return files
