"""A small random LLaVA with a tokenizer of whole words; for the tests beside this file."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

SPECIAL = ["[PAD]", "[UNK]", "<s>", "</s>", "<image>"]


WORDS = [*SPECIAL, *"USER: ASSISTANT: what colour is the dress red blue green a dog ?".split()]  # noqa: SIM905


QUESTIONS = ["what colour is the dress ?", "is the dog red ?"]


def tokenizer():
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, additional_special_tokens=["<image>"], **special)


def model(seed=0):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**sizes, image_size=32, patch_size=8),
        text_config=LlamaConfig(
            **sizes, num_key_value_heads=2, vocab_size=len(WORDS), pad_token_id=0, bos_token_id=2, eos_token_id=3
        ),
        image_token_index=4,
        image_seq_length=16,
    )
    made = LlavaForConditionalGeneration(config).eval()
    for parameter in made.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)  # so that a word follows from more than the biases
    return made


def processor(template=None):
    images = CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    return LlavaProcessor(
        images, tokenizer(), patch_size=8, vision_feature_select_strategy="default", image_token="<image>",
        num_additional_image_tokens=1, chat_template=template,
    )  # fmt: skip
