"""Words of a question to a model that answers: the answer stays, and each shorter question is a prompt of its own."""

import pytest

from mmgrad_explain import explain

QUESTION = "is the dog red ?"
SHORTER = ["the dog red ?", "is dog red ?", "is the red ?", "is the dog ?", "is the dog red"]


def losses(picture, composer, answer, **options):
    every = [explain(picture, text, model=composer, answer=answer, **options) for text in [QUESTION, *SHORTER]]
    whole, *shorter = (float(one.score[0]) for one in every)
    return [whole - score for score in shorter]


def test_the_answer_stays_and_the_question_is_shorter(composer, pictures):
    found = explain(pictures[0], QUESTION, model=composer, answer="a blue dog", words=True)
    assert [word.text for word in found.words[0]] == QUESTION.split()
    expected = losses(pictures[0], composer, "a blue dog")
    assert [word.value for word in found.words[0]] == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert found.words_by == ("leave-one-out",)


def test_parts_of_an_answer_have_words_of_their_own(composer, pictures):
    parts = ["blue", "dog"]
    found = explain(pictures[0], QUESTION, model=composer, answer="a blue dog", answer_part=parts, words=True)
    for index, part in enumerate(parts):
        expected = losses(pictures[0], composer, "a blue dog", answer_part=part)
        assert [word.value for word in found.words[index]] == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert found.words_by == ("leave-one-out",) * 2
