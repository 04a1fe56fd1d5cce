"""Sentences without a word, read by every kind of composer: as if somebody had typed the shorter one."""

import pytest
import torch

from mmgrad_explain import explain
from mmgrad_explain.attention.word_values.left_out import CannotLeaveOutError
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.composers.shorter_sentences import ShorterSentences
from mmgrad_explain.errors import InputError

TEXT = "make it blue"
SHORTER = ["it blue", "make blue", "make it"]


def values_of(explanation, index=0):
    return [word.value for word in explanation.words[index]]


def scores_of(picture, texts, target=None, **options):
    targets = None if target is None else [target]
    return [float(explain(picture, text, targets, **options).score[0]) for text in texts]


def test_with_a_target_image(picture, tiny):
    """A score that holds nothing constant falls by exactly the value; the images are read once."""
    target = picture.rotate(90)
    options = {"model": tiny, "score": "similarity"}
    whole, *shorter = scores_of(picture, [TEXT, *SHORTER], target, **options)
    read = []
    real = tiny.processor.encode_images
    tiny.processor.encode_images = lambda images: read.append(len(images)) or real(images)
    found = explain(picture, TEXT, target, words=True, **options)
    assert values_of(found) == pytest.approx([whole - score for score in shorter], abs=1e-6)
    assert sum(read) <= 4, "reference and target, for the map and for the words"


def test_a_shift_with_a_target_counts_both_images(picture, tiny):
    target = picture.rotate(90)
    both = values_of(explain(picture, TEXT, target, model=tiny, words=True))
    each = [values_of(explain(image, TEXT, model=tiny, words=True)) for image in (picture, target)]
    assert both == pytest.approx([sum(pair) for pair in zip(*each, strict=True)], rel=1e-3, abs=1e-7)


def test_a_sentence_of_one_word(picture, tiny):
    """Without it the sentence is empty: the reference model then changes nothing, and all of the score is lost."""
    found = explain(picture, "remove", model=tiny, words=True)
    assert values_of(found) == pytest.approx([float(found.score[0])], rel=1e-4)


def test_what_the_processor_refuses_has_values_by_the_gradient(picture, tiny):
    real = tiny.processor.encode_texts

    def encode(texts, notices=None):
        if not all(texts):
            raise InputError("an empty text")
        return real(texts, notices)

    tiny.processor.encode_texts = encode
    found = explain(picture, "remove", model=tiny, words=True)
    assert found.words_by == ("gradient",)
    assert any("an empty text" in note.text for note in found.notes)


def test_each_different_image_is_encoded_once_for_all_sentences(picture, tiny):
    other = picture.rotate(90)
    sentences = ShorterSentences(capabilities(tiny), [picture, other, picture], [TEXT] * 3)
    ids = tiny.processor.encode_texts([TEXT] * 3)[0].tolist()
    assert sentences.find(ids, [[0, 1, 2]] * 3) is sentences
    sizes = []
    tiny.network.visual.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    rows = [(2, None), (1, 0), (0, 2)]
    with torch.no_grad():
        (output,) = sentences.run(rows)
        sentences.run(rows)
        texts = [TEXT, SHORTER[0], SHORTER[2]]
        expected = tiny(**tiny.preprocess([picture, other, picture], texts).tensors)
    assert sizes == [2, 3]
    torch.testing.assert_close(output.shift, expected.shift, rtol=1e-4, atol=1e-6)
    assert [len(batch) for batch in sentences.batches([(0, None)] * 70)] == [64, 6]


def test_tokenizers_without_offsets_leave_it_to_the_tokens(picture, tiny):
    class Plain:
        def encode(self, text):
            return [len(text)]

        def decode(self, ids):
            return "x"

    tiny.processor.tokenizer = Plain()
    assert ShorterSentences(capabilities(tiny), [picture], ["a"]).find([[1]], [[0]]) is None


def test_errors_of_the_processor_say_that_words_cannot_be_left_out(picture, tiny):
    sentences = ShorterSentences(capabilities(tiny), [picture], [TEXT])
    sentences.find(tiny.processor.encode_texts([TEXT])[0].tolist(), [[0, 1, 2]])
    sentences.answers = ["red"]
    with pytest.raises(CannotLeaveOutError, match="does not answer in words"):
        sentences.run([(0, 0)])
