"""What follows the image in a prompt: compared with the tokens of prompts that are written out."""

import importlib.util
from pathlib import Path

import pytest

from mmgrad_explain.composers.generative.family import generative_families
from mmgrad_explain.composers.generative.processor import GenerativeProcessor
from mmgrad_explain.composers.generative.prompt_tail import count_common, read_prompt_tail

_SPEC = importlib.util.spec_from_file_location("small_llava", Path(__file__).with_name("small_llava.py"))
small_llava = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_llava)

FIRST = "{{ '<image> red ' + messages[0]['content'][1]['text'] + ' blue dog ASSISTANT:' }}"
LAST = "{{ messages[0]['content'][1]['text'] + ' <image> ASSISTANT:' }}"


def read(template=None):
    processor = GenerativeProcessor(small_llava.processor(template), generative_families()["llava"])
    return read_prompt_tail(processor, small_llava.WORDS.index("<image>"))


def words(ids):
    return [small_llava.WORDS[token] for token in ids]


@pytest.mark.parametrize(
    ("template", "before", "after"), [(None, [], ["ASSISTANT:"]), (FIRST, ["red"], ["blue", "dog", "ASSISTANT:"])]
)
def test_tokens_around_the_question(template, before, after):
    tail = read(template)
    assert words(tail.before) == before
    assert words(tail.after) == after
    neutral = words(tail.neutral["input_ids"].tolist())
    assert neutral[: len(before)] == before
    assert neutral[len(neutral) - len(after) :] == after
    assert len(neutral) == len(before) + 7 + len(after)  # the neutral question has seven words
    assert tail.neutral["attention_mask"].tolist() == [1] * len(neutral)


def test_a_question_before_the_image():
    tail = read(LAST)
    assert tail.before is None
    assert tail.after is None


def test_counting():
    assert count_common([1, 2, 3], [1, 2, 4, 3]) == 2
    assert count_common([], [1]) == 0
    assert count_common([1, 2], [1, 2]) == 2
