"""Each generative family from a folder as a user has it: the whole processor of transformers, prompt to map."""

import importlib.util
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from mmgrad_explain import explain, load_composer

_SPEC = importlib.util.spec_from_file_location("small_models", Path(__file__).with_name("small_models.py"))
small = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small)

QWEN = ("<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|im_start|>", "<|im_end|>")
CLIP = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
# What stands for a patch, other tokens of the prompt, those the tokenizer has by name, and the processor.
TOKENS = {
    "llava": ("<image>", (), {}, "LlavaProcessor", CLIP),
    "llava_next": ("<image>", (), {}, "LlavaNextProcessor", CLIP),
    "llava_onevision": ("<image>", ("<video>",), {}, "LlavaOnevisionProcessor", {"num_image_tokens": 16}),
    "qwen2_vl": ("<|image_pad|>", QWEN, {}, "Qwen2VLProcessor", {}),
    "qwen2_5_vl": ("<|image_pad|>", QWEN, {}, "Qwen2_5_VLProcessor", {}),
    "qwen3_vl": ("<|image_pad|>", QWEN, {}, "Qwen3VLProcessor", {}),
    "paligemma": ("<image>", (), {}, "PaliGemmaProcessor", {}),
    "gemma3": (
        "<image_soft_token>",
        ("<start_of_turn>", "<end_of_turn>"),
        {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"},
        "Gemma3Processor",
        {"image_seq_length": 16},
    ),
    "idefics3": (
        "<image>",
        ("<fake_token_around_image>", "<end_of_utterance>", "<global-img>"),
        {},
        "Idefics3Processor",
        {"image_seq_len": 16},
    ),
    "smolvlm": (
        "<image>",
        ("<fake_token_around_image>", "<end_of_utterance>", "<global-img>"),
        {
            "fake_image_token": "<fake_token_around_image>",
            "image_token": "<image>",
            "end_of_utterance_token": "<end_of_utterance>",
            "global_image_token": "<global-img>",
        },
        "SmolVLMProcessor",
        {"image_seq_len": 16},
    ),
    "internvl": (
        "<IMG_CONTEXT>",
        ("<|im_start|>", "<|im_end|>"),
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        "InternVLProcessor",
        {"image_seq_length": 16},
    ),
}
VIDEOS = {
    "llava_onevision": "LlavaOnevisionVideoProcessor",
    "qwen2_vl": "Qwen2VLVideoProcessor",
    "qwen2_5_vl": "Qwen2VLVideoProcessor",
    "qwen3_vl": "Qwen3VLVideoProcessor",
    "smolvlm": "SmolVLMVideoProcessor",
    "internvl": "InternVLVideoProcessor",
}


def tokenizer(kind):
    image, others, named, *_ = TOKENS[kind]
    special = ["<pad>", "<unk>", "<s>", "</s>", *dict.fromkeys([image, *others, *named.values()])]
    words = [*special, *"is the dress red yes no a blue one user".split()]  # noqa: SIM905
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    roles = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    rest = [one for one in special[4:] if one not in named.values()]
    if named:
        roles["extra_special_tokens"] = named
    name = "PreTrainedTokenizerFast"
    if transformers.__version__ < "5":  # these processors look at the tokenizer's class
        name = (
            "Qwen2TokenizerFast" if kind.startswith("qwen") else "GemmaTokenizerFast" if kind == "paligemma" else name
        )
    return getattr(transformers, name)(tokenizer_object=made, additional_special_tokens=rest, **roles)


def save(kind, folder):
    image, _, _, name, options = TOKENS[kind]
    words = tokenizer(kind)
    parts = {"image_processor": small.processor(kind).image_processor, "tokenizer": words}
    if kind == "paligemma":
        parts["image_processor"].image_seq_length = 16
    if kind in VIDEOS:
        parts["video_processor"] = getattr(transformers, VIDEOS[kind])()
    processor = getattr(transformers, name)(**parts, **options)
    processor.save_pretrained(folder)
    number = words.convert_tokens_to_ids(image)
    config = dict(small.CONFIGS[kind])
    config["image_token_id" if "image_token_id" in config else "image_token_index"] = number
    if "vision_start_token_id" in config:
        for key, token in (("video", "<|video_pad|>"), ("vision_start", QWEN[0]), ("vision_end", QWEN[1])):
            config[f"{key}_token_id"] = words.convert_tokens_to_ids(token)
    config["text_config"] = {**config["text_config"], "vocab_size": len(words) + 8}
    model_class = getattr(transformers, small.FAMILIES[kind].model_class)
    torch.manual_seed(3)
    model = model_class(model_class.config_class(**config))
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)


@pytest.mark.parametrize("kind", small.KINDS)
def test_from_a_folder(kind, tmp_path):
    save(kind, tmp_path)
    composer = load_composer(tmp_path)
    image = small.picture(kind)
    maps = {}
    for answer in ("yes", "no"):
        found = explain(image, "is the dress red", model=composer, answer=answer)
        assert tuple(found.maps.shape[1:]) == small.PICTURES[kind][1]
        maps[answer] = found
    assert (maps["yes"].maps - maps["no"].maps).abs().max() > 0.01 * maps["yes"].maps.max()
    inputs = composer.preprocess([image], ["is the dress red"], answers=["yes"])
    with torch.no_grad():
        logits, labels = composer(**inputs.tensors)
    place = labels[0] >= 0
    said = logits[0].log_softmax(-1)[place.nonzero()[:, 0] - 1, labels[0, place]].sum()
    torch.testing.assert_close(maps["yes"].score[0], said, atol=1e-4, rtol=1e-4)

    # Padding on the left, for the shorter question and answer, changes nothing.
    pictures = [image, small.picture(kind, 1)]
    questions, answers = ["is the dress red", "a blue one is the dress"], ["yes", "a blue one"]
    both = explain(pictures, questions, model=composer, answer=answers)
    for number in (0, 1):
        one = explain(pictures[number], questions[number], model=composer, answer=answers[number])
        torch.testing.assert_close(both.score[number], one.score[0], atol=1e-4, rtol=1e-4)
        largest = one.maps.max()
        torch.testing.assert_close(both.maps[number] / largest, one.maps[0] / largest, atol=1e-3, rtol=0)

    # So do other parts of the answers, and other pictures, in the same forward.
    parts = explain(pictures, questions, model=composer, answer=answers, answer_part=["yes", ["blue", "one"]])
    for index, (number, part) in enumerate(((0, "yes"), (1, "blue"), (1, "one"))):
        one = explain(pictures[number], questions[number], model=composer, answer=answers[number], answer_part=part)
        torch.testing.assert_close(parts.score[index], one.score[0], atol=1e-4, rtol=1e-4)
        signed, other = (found.signed[composer.target_layer][0] for found in (parts, one))
        largest = other.abs().max()
        torch.testing.assert_close(signed[index] / largest, other[0] / largest, atol=1e-3, rtol=0)
