"""Tokens taken out of a model's inputs: the gap is closed, padding stays where it was, and all that belongs follows."""

import pytest
import torch

from mmgrad_explain.attention.word_values.left_out import CannotLeaveOutError
from mmgrad_explain.attention.word_values.token_texts import TokenTexts, reads_places

PIXELS = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, 4, 4)


def words_at(*positions):
    return [(str(place), (place,)) for place in positions]


def texts_of(words, ids, **kwargs):
    """Texts, and the keyword arguments of the last run."""
    seen = {}

    def run(args, kwargs, samples):
        seen.update(kwargs, samples=samples)
        return [None]

    ids = torch.tensor(ids)
    return TokenTexts(run, ((), {"input_ids": ids, **kwargs}), ids, words), seen


def test_padding_after_and_what_follows():
    ids, mask = [[2, 5, 6, 3, 0], [2, 7, 8, 9, 3]], torch.tensor([[1, 1, 1, 1, 0], [1] * 5])
    texts, seen = texts_of(
        [words_at(1, 2), [("a", (1, 2)), ("b", (3,))]], ids, pixel_values=PIXELS, attention_mask=mask,
        token_type_ids=torch.tensor([[0, 0, 1, 1, 0]] * 2), position_ids=torch.arange(5)[None],
    )  # fmt: skip
    texts.run([(1, 0), (0, 0), (0, None)])
    assert seen["input_ids"].tolist() == [[2, 9, 3, 0, 0], [2, 6, 3, 0, 0], [2, 5, 6, 3, 0]]
    assert seen["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]
    assert seen["token_type_ids"].tolist() == [[0, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0]]
    assert seen["position_ids"].tolist() == [[0, 1, 2, 3, 4]]
    assert seen["pixel_values"][:, 0, 0, 0].tolist() == [1, 0, 0]
    assert not texts.in_rounds


def test_padding_before():
    """As a model that answers is padded: a shorter question begins later, and its positions count from there."""
    ids, mask = [[0, 2, 5, 6], [2, 7, 8, 9]], torch.tensor([[0, 1, 1, 1], [1] * 4])
    texts, seen = texts_of(
        [words_at(2), words_at(1)], ids, attention_mask=mask, position_ids=torch.tensor([[1, 0, 1, 2], [0, 1, 2, 3]])
    )
    texts.run([(0, 0), (1, 0)])
    assert seen["input_ids"].tolist() == [[0, 0, 2, 6], [0, 2, 8, 9]]
    assert seen["attention_mask"].tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]
    assert seen["position_ids"].tolist()[0] == [1, 1, 0, 1]


def test_without_a_mask_texts_become_shorter():
    texts, seen = texts_of([words_at(1, 2)], [[2, 5, 6, 3]])
    rows = [(0, None), (0, 0), (0, 1)]
    assert texts.batches(rows) == [[(0, 0), (0, 1)], [(0, None)]]
    texts.run([(0, 0), (0, 1)])
    assert seen["input_ids"].tolist() == [[2, 6, 3], [2, 5, 3]]
    with pytest.raises(CannotLeaveOutError, match="different lengths"):
        texts.run(rows)


@pytest.mark.parametrize(
    ("ids", "shorter"), [([2, 5, 6, 3, 0, 0], [2, 6, 3, 0, 0, 0]), ([2, 5, 6, 3, 3], [2, 6, 3, 3, 3])]
)
def test_padding_without_a_mask_is_a_tail_of_equal_tokens_in_no_word(ids, shorter):
    """The first of them may be the end of the text."""
    texts, seen = texts_of([words_at(1, 2)], [ids])
    texts.run([(0, 0)])
    assert seen["input_ids"].tolist() == [shorter]


def test_a_word_that_is_said_twice_is_no_padding():
    texts, seen = texts_of([words_at(0, 1, 2)], [[4, 5, 5]])
    texts.run([(0, 2)])
    assert seen["input_ids"].tolist() == [[4, 5]]


def test_nothing_left():
    assert texts_of([words_at(0), words_at(0, 1)], [[5, 0], [6, 7]])[0].of_one_word == frozenset()
    mask = torch.tensor([[1, 0], [1, 1]])
    assert texts_of([words_at(0), words_at(0, 1)], [[5, 0], [6, 7]], attention_mask=mask)[0].of_one_word == {0}


def test_a_round_leaves_images_as_they_are():
    """So that packed images, lists and shared tensors, which belong to no sample alone, can stay."""
    packed = torch.zeros(7, 3)
    texts, seen = texts_of([words_at(1), words_at(1)], [[2, 5], [2, 6]], patches=packed, sizes=[(4, 4)])
    assert texts.in_rounds
    texts.run([(0, 0), (1, 0)])
    assert seen["patches"] is packed
    assert texts_of([words_at(1)], [[2, 5]], captions=["a"])[0].in_rounds


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"attention_mask": torch.ones(1, 1, 3, 3)}, r"attention_mask, \(1, 1, 3, 3\), belongs to tokens"),
        ({"position_ids": torch.zeros(3, 1, 3)}, r"position_ids, \(3, 1, 3\), belongs"),
        ({"position_ids": torch.tensor([[4, 9, 2]])}, "not counted one by one"),
        ({"labels": torch.tensor([[-100, 5, 3]])}, "labels has one value a token, and what it means is not known"),
        ({"attention_mask": torch.zeros(1, 3)}, "a mask leaves no token"),
    ],
)
def test_what_cannot_be_told_is_refused(more, message):
    with pytest.raises(CannotLeaveOutError, match=message):
        texts_of([words_at(1)], [[2, 5, 3]], **more)


def test_ids_that_are_not_the_inputs(zoo):
    with pytest.raises(CannotLeaveOutError, match="not among the model's inputs"):
        TokenTexts(None, ((torch.zeros(1, 3, 8, 8),), {}), torch.tensor([[1, 2]]), [words_at(0)])


def test_positional_arguments_have_the_names_of_the_forward(zoo):
    class Masked(torch.nn.Module):
        def forward(self, image, ids, kinds_type):
            """Only the names count."""

    ids = torch.tensor([[2, 5, 3]])
    seen = []
    inputs = (PIXELS[:1], ids, ids.clone()), {}
    texts = TokenTexts(lambda *call: seen.append(call), inputs, ids, [words_at(1)], root=Masked())
    texts.run([(0, 0)])
    (_, first, types), *_ = seen[0]
    assert first.tolist() == types.tolist() == [[2, 3]]


def test_scores_that_read_places_of_the_text():
    output = {"logits": torch.arange(6.0).view(1, 3, 2), "embedding": torch.ones(1, 3)}
    assert reads_places(lambda out: out["logits"][:, -1, 0], output, 1, 3)
    assert not reads_places(lambda out: out["logits"][:, :, 0].mean(1), output, 1, 3)
    assert not reads_places(lambda out: out["embedding"][:, 0], output, 1, 3)
    assert not reads_places(lambda out: out["logits"][:, -1, 0], output, 1, 4)
