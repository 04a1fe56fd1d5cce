"""A small random CLIP in a folder, and a composer of it."""

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from mmgrad_explain.composers.clip.composer import ClipComposer

WORDS = ["<unk>", "<start>", "<end>", "make", "the", "it", "red", "blue"]


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """A random CLIP of two layers with a word tokenizer, saved as transformers saves one."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    names = {"bos_token": "<start>", "eos_token": "<end>", "pad_token": "<end>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    torch.manual_seed(0)
    CLIPModel(
        CLIPConfig(
            text_config={**small, **ids, "vocab_size": len(WORDS), "max_position_embeddings": 6},
            vision_config={**small, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def composer(clip_folder):
    return ClipComposer.from_clip(clip_folder, width=16).eval()


@pytest.fixture
def inputs(composer, picture):
    return composer.preprocess([picture] * 2, ["make it red", "make it blue"], [picture.rotate(90)] * 2).tensors
