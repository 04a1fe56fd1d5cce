"""A model's own processor: prompts, what it refuses, labels of parts, batches padded on the left."""

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoProcessor,
)

from mmgrad_explain import InputError, explain, load_composer
from mmgrad_explain.composers.generative.processor import IGNORED_LABEL, is_whole_processor

_SPEC = importlib.util.spec_from_file_location("small_llava", Path(__file__).with_name("small_llava.py"))
small_llava = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_llava)


def test_a_chat_template_is_taken(folder, pictures, tmp_path):
    template = (
        "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image> "
        "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %} ASSISTANT: a"
    )
    small_llava.model().save_pretrained(tmp_path)
    small_llava.processor(template).save_pretrained(tmp_path)
    found = explain(pictures[0], small_llava.QUESTIONS[0], model=load_composer(tmp_path), answer="red dress")
    plain = explain(pictures[0], small_llava.QUESTIONS[0], model=folder, answer="a red dress", answer_part="red dress")
    torch.testing.assert_close(found.score, plain.score, atol=1e-5, rtol=1e-5)


class Refusing:
    """A processor that takes no picture."""

    def __init__(self, own):
        self.chat_template, self.image_token = own.chat_template, own.image_token

    def __call__(self, **_):
        raise ValueError("too small")


def test_what_the_processor_refuses(composer, pictures):
    with pytest.raises(InputError, match="the text 'a <image> dog' holds the image token"):
        explain(pictures[0], "a <image> dog", model=composer, answer="red")
    composer.processor.processor = Refusing(composer.processor.processor)
    with pytest.raises(InputError, match=r"the model's own processor cannot take this image with 'a dog': too small"):
        explain(pictures[0], "a dog", model=composer, answer="red")


def test_a_folder_without_a_processor(tmp_path, monkeypatch):
    small_llava.model().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"the processor in .* cannot be read"):
        load_composer(tmp_path)
    monkeypatch.setattr(AutoProcessor, "from_pretrained", lambda *_, **__: small_llava.tokenizer())
    with pytest.raises(InputError, match="has no processor for images and texts: it needs"):
        load_composer(tmp_path)


def test_labels_are_the_ids_at_the_last_positions(composer):
    processor = composer.processor
    ids = [processor.tokenize("red"), processor.tokenize("a blue dog")]
    labels = processor.make_labels(ids, [None, "blue"])
    assert labels.tolist() == [[IGNORED_LABEL] * 3 + ids[0], [IGNORED_LABEL, IGNORED_LABEL, ids[1][1], IGNORED_LABEL]]


def test_a_batch_is_padded_on_the_left(composer, pictures):
    processor = composer.processor
    prompts = processor.make_prompts(pictures, small_llava.QUESTIONS)
    lengths = [prompt.tensors["input_ids"].shape[1] for prompt in prompts]
    answers = [processor.tokenize("red"), processor.tokenize("a blue dog")]
    joined = processor.join(prompts, answers)
    sizes = [length + len(ids) for length, ids in zip(lengths, answers, strict=True)]
    assert joined["attention_mask"].sum(1).tolist() == sizes
    assert joined["attention_mask"][:, -1].tolist() == [1, 1]
    for row, ids in zip(joined["input_ids"].tolist(), answers, strict=True):
        assert row[-len(ids) :] == ids
    assert joined["pixel_values"].shape[0] == 2
    assert joined["labels"].shape == (2, 4)


def test_an_answer_is_cut_at_its_first_special_token(composer):
    red, dog = composer.processor.tokenize("red dog")
    end = small_llava.WORDS.index("</s>")
    assert composer.processor.cut_at_end([red, end, dog]) == [red]
    assert composer.processor.cut_at_end([red, dog]) == [red, dog]
    assert composer.processor.decode([red, end, dog]) == "red dog"


def test_a_whole_processor_has_both_parts(composer):
    own = composer.processor.processor
    assert is_whole_processor(own)
    assert not is_whole_processor(own.tokenizer)
    assert not is_whole_processor(own.image_processor)
