"""What a score loses without each word: batches, rounds, and the whole texts that run again beside them."""

from types import SimpleNamespace

import pytest
import torch

from mmgrad_explain.attention.scores.base import CallableScore
from mmgrad_explain.attention.scores.embedding import TextShift
from mmgrad_explain.attention.scores.matching import MatchLogit
from mmgrad_explain.attention.word_values.left_out import CannotLeaveOutError, HeldScores, leave_each_out

POINTS = [[1.0, 2.0, 4.0], [8.0]]  # what each word of two texts adds to their score


class Sums:
    """Texts whose score is the sum of their words' points; keeps the batches that ran."""

    of_one_word = frozenset()

    def __init__(self, points=POINTS, *, in_rounds=False, most=3):
        self.points, self.in_rounds, self.most, self.ran = points, in_rounds, most, []

    def batches(self, rows):
        return [rows[at : at + self.most] for at in range(0, len(rows), self.most)]

    def run(self, rows):
        self.ran.append(list(rows))
        sums = [sum(p for at, p in enumerate(self.points[s]) if at != word) for s, word in rows]
        return [SimpleNamespace(match=torch.tensor(sums))]


MATCH = MatchLogit()


def of(texts, scorer=MATCH, values=((7.0, 8.0),)):
    output = SimpleNamespace(match=torch.tensor(values[0]))
    return leave_each_out(texts, HeldScores(scorer, [output], torch.tensor(values)), [3, 1])


def test_the_values_are_what_is_lost():
    texts = Sums()
    assert of(texts) == [[[1.0, 2.0, 4.0], [8.0]]]
    assert texts.ran == [[(0, None), (1, None), (0, 0)], [(0, 1), (0, 2), (1, 0)]]


@pytest.mark.parametrize(
    ("texts", "scorer"),
    [
        (Sums(in_rounds=True), MatchLogit()),
        (Sums(), CallableScore(lambda output: output.match + torch.zeros(2), "holds something of both samples")),
    ],
)
def test_rounds_hold_every_sample_once_in_its_order(texts, scorer):
    assert of(texts, scorer) == [[[1.0, 2.0, 4.0], [8.0]]]
    assert texts.ran == [
        [(0, None), (1, None)], [(0, 0), (1, 0)], [(0, 1), (1, None)], [(0, 2), (1, None)]
    ]  # fmt: skip


def test_a_model_that_does_not_repeat_itself_has_no_values():
    with pytest.raises(CannotLeaveOutError, match="another score when it is run again"):
        of(Sums([[1.0, 2.0, 4.1], [8.0]]))


def test_a_score_that_is_not_finite_has_no_values():
    with pytest.raises(CannotLeaveOutError, match="not finite"):
        of(Sums([[1.0, float("nan"), 4.0], [8.0]]))


def test_a_score_of_the_whole_batch_has_no_values():
    with pytest.raises(CannotLeaveOutError, match="not one number for each text"):
        of(Sums(), CallableScore(lambda output: output.match.sum(), "sum"))


def test_texts_without_words_to_leave_out():
    assert leave_each_out(Sums(), HeldScores(MatchLogit(), *found()), [0, 1]) == [[[], [8.0]]]


def found():
    return [SimpleNamespace(match=torch.tensor([7.0, 8.0]))], torch.tensor([[7.0, 8.0]])


def test_a_shift_keeps_its_direction():
    """A word that turns the shift aside, at the same length, loses what no longer points along it."""
    whole = torch.tensor([[3.0, 4.0]])
    held = HeldScores(TextShift(), [SimpleNamespace(shift=whole)], torch.tensor([[25.0]]))
    other = SimpleNamespace(shift=torch.tensor([[3.0, 4.0], [-4.0, 3.0], [6.0, 8.0]]))
    rows = [(0, None), (0, 0), (0, 1)]
    assert held.of([other], rows).tolist() == [[25.0, 0.0, 50.0]]
    assert TextShift()(other).tolist() == [25.0, 25.0, 100.0]
