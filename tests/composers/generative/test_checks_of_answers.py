"""Checks of maps of answers: each part against its own score, the question changed for the figure of the text."""

import pytest

from mmgrad_explain import answer_maps, explain

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning", "ignore::DeprecationWarning")


def drops(check):
    return [drop for row in check.drops for drop in row]


def test_a_part_of_an_answer_is_checked_as_if_it_were_explained_alone(composer, pictures):
    question, answer = "what colour is the dress ?", "a red dress"
    several = answer_maps(pictures[0], question, composer, answer=answer, parts=["red", "dress"]).explanation
    checks = several.check([1, 2])
    alone = explain(pictures[0], question, model=composer, answer=answer, answer_part="dress").check()[0]
    assert [check.sample for check in checks] == [1, 2]
    assert drops(checks[1]) == pytest.approx(drops(alone), abs=1e-4)
    assert drops(checks[0]) != pytest.approx(drops(alone), abs=1e-4)
    assert checks[1].occlusion == pytest.approx(alone.occlusion, abs=1e-3)
    assert alone.other_text.endswith("?")


def test_a_batch_of_questions_is_checked_together(composer, pictures):
    made = explain(list(pictures[:2]), "is the dress red ?", model=composer, answer="yes")
    checks = made.check()
    single = explain(pictures[1], "is the dress red ?", model=composer, answer="yes").check()[0]
    assert drops(checks[1]) == pytest.approx(drops(single), abs=1e-4)


@pytest.mark.parametrize("method", ["legrad", "relevancy", "relative-attention", "token-activation"])
def test_the_question_is_changed_for_methods_that_find_their_own_place(composer, pictures, method):
    made = explain(pictures[0], "is the dress red ?", model=composer, answer="yes", method=method)
    (check,) = made.check()
    assert "text" not in dict(check.missing), check.missing
    assert 0 <= check.text <= 2
