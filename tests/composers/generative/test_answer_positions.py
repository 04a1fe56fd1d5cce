"""Where question and answer lie in the sequence that a generative model reads, and its logits of single tokens."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mmgrad_explain.composers.generative.answer_positions import compute_token_logits, find_answer_positions
from mmgrad_explain.composers.generative.prompt_tail import PromptTail
from mmgrad_explain.errors import InputError

_SPEC = importlib.util.spec_from_file_location("small_llava", Path(__file__).with_name("small_llava.py"))
small_llava = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(small_llava)

QUESTIONS, ANSWERS = ["what colour is the dress ?", "a dog ?"], ["red", "a blue dog"]


def words_at(ids, mask):
    return [small_llava.WORDS[token] for token in ids[mask].tolist()]


@pytest.fixture
def asked(composer, pictures):
    """A batch of two lengths: its tensors, output, and positions."""
    tensors = composer.preprocess(pictures, QUESTIONS, answers=ANSWERS).tensors
    with torch.no_grad():
        output = composer(**tensors)
    return tensors, output, composer.answer_positions(output, **tensors)


def test_question_and_answer_of_each_sample(asked):
    _, _, found = asked
    for row in range(2):
        assert words_at(found.ids[row], found.question[row]) == QUESTIONS[row].split()
        assert words_at(found.ids[row], found.answer[row]) == ANSWERS[row].split()
        assert found.counted[row].equal(found.answer[row])


def test_the_language_model(composer):
    found = composer.answer_layers()
    assert found.hidden == "model.model.language_model"
    assert found.blocks == tuple(f"model.model.language_model.layers.{index}" for index in (0, 1))


def test_the_part_that_counts(composer, pictures):
    tensors = composer.preprocess(pictures, QUESTIONS, answers=["dog", "a dog red"], answer_part="dog").tensors
    with torch.no_grad():
        found = composer.answer_positions(composer(**tensors), **tensors)
    assert [words_at(found.ids[row], found.answer[row]) for row in (0, 1)] == [["dog"], ["a", "dog", "red"]]
    assert [words_at(found.ids[row], found.counted[row]) for row in (0, 1)] == [["dog"], ["dog"]]
    del tensors["answer_lengths"]  # then the answer begins with what counts
    with torch.no_grad():
        found = composer.answer_positions(composer(**tensors), **tensors)
    assert [words_at(found.ids[row], found.answer[row]) for row in (0, 1)] == [["dog"], ["dog", "red"]]


def test_logits_of_single_tokens_are_the_models_own(composer, asked):
    tensors, _, found = asked
    hidden, kept = [], []
    decoder = composer.get_submodule(composer.answer_layers().hidden)
    handles = [
        decoder.register_forward_hook(lambda *call: hidden.append(call[2][0])),
        composer.model.lm_head.register_forward_hook(lambda *call: kept.append(call[2])),
    ]
    with torch.no_grad():
        composer.model(**{name: tensors[name] for name in ("input_ids", "attention_mask", "pixel_values")})
        tokens = torch.tensor([7, 3, 7])
        logits = found.token_logits(hidden[0][1], tokens)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(logits, kept[0][1][:, tokens])
    for row in range(2):
        for place in found.answer[row].nonzero()[:, 0].tolist():
            own = kept[0][row, place - 1, found.ids[row, place]]
            torch.testing.assert_close(found.predicted[row, place], own, atol=1e-5, rtol=1e-4)
    assert not found.predicted[~found.answer].any()


def test_logits_of_an_adapted_output_embedding(composer):
    hidden, tokens = torch.randn(300, 16), torch.tensor([4, 9])
    plain = compute_token_logits(composer.model, composer.family, hidden, tokens)
    composer.model.lm_head = nn.Sequential(composer.model.lm_head)
    torch.testing.assert_close(compute_token_logits(composer.model, composer.family, hidden, tokens), plain)


def test_limited_logits(composer):
    hidden, tokens = 10 * torch.randn(3, 16), torch.tensor([4, 9])
    plain = compute_token_logits(composer.model, composer.family, hidden, tokens)
    limited = replace(composer.family, logit_cap=lambda _config: 2.0)
    found = compute_token_logits(composer.model, limited, hidden, tokens)
    torch.testing.assert_close(found, 2 * torch.tanh(plain / 2))
    assert found.abs().max() <= 2 < plain.abs().max()


def test_neutral_inputs_are_what_the_processor_makes_of_a_neutral_question(composer, pictures, asked):
    tensors, _, found = asked
    neutral = found.neutral_inputs()
    question = "Write a general description of the image."
    expected = composer.processor.join(composer.processor.make_prompts(pictures, [question] * 2), [[], []])
    assert neutral["labels"].eq(-100).all()
    for name in ("input_ids", "attention_mask", "pixel_values"):
        assert neutral[name].equal(expected[name]), name
    assert not tensors["input_ids"].equal(neutral["input_ids"])
    with torch.no_grad():
        assert composer(**neutral).logits.shape[:2] == (2, 1)


def test_a_question_that_does_not_follow_the_image(composer, asked):
    tensors, output, _ = asked
    tail = PromptTail(None, None, {})
    found = find_answer_positions(composer.model, composer.processor, composer.family, tail, output, tensors)
    assert words_at(found.ids[0], found.question[0]) == ["USER:", *QUESTIONS[0].split(), "ASSISTANT:"]
    with pytest.raises(InputError, match="the question does not follow the image, so that no neutral question"):
        found.neutral_inputs()


def test_the_prompt_is_read_once(composer, pictures, monkeypatch):
    made = []
    make = composer.processor.make_prompts
    monkeypatch.setattr(composer.processor, "make_prompts", lambda *given: made.append(given) or make(*given))
    tensors = composer.preprocess(pictures, QUESTIONS, answers=ANSWERS).tensors
    with torch.no_grad():
        output = composer(**tensors)
    for _ in range(2):
        composer.answer_positions(output, **tensors)
    assert len(made) == 2  # the call's own prompts, and those that were compared
