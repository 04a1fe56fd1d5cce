"""Token activation maps, against the paper's equations written out in loops and float64."""

import numpy as np
import pytest
import torch

from mmgrad_explain.attention.methods.answers.token_activation import (
    rank_gaussian_filter,
    subtract_interference,
    token_activations,
)


def filtered_by_hand(image):
    """The rank Gaussian filter of a map (h, w)."""
    padded, found = np.pad(image, 1, mode="reflect"), np.zeros_like(image)
    for row, column in np.ndindex(image.shape):
        window = np.sort(padded[row : row + 3, column : column + 3].ravel())
        if window.mean() > 0:
            sigma = window.std() / window.mean()
            weights = np.exp(-(np.arange(-4, 5) ** 2) / (2 * sigma**2)) if sigma else np.eye(9)[4]
            found[row, column] = window @ weights / weights.sum()
    return found


def activations_by_hand(image, text, ids, target):
    """The map of one token: ``image`` (N, T) and ``text`` (T,) are logits, the latter of the target at each token."""
    image, text = image.clip(min=0), text.clip(min=0)
    mixture, total = np.zeros(len(image)), 0.0
    for token in range(target):
        if ids[token] != ids[target]:
            mixture += text[token] * image[:, token]
            total += text[token]
    found = image[:, target].copy()
    if total > 0 and mixture.any():
        mixture /= total
        share = np.linalg.lstsq(mixture[:, None], found, rcond=None)[0][0]
        found = (found - share * mixture).clip(min=0)
    both = np.concatenate([found, text[:target]])
    return (found - both.min()) / (both.max() - both.min())


@pytest.fixture
def logits():
    torch.manual_seed(0)
    image, text = torch.randn(30, 7, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64) + 0.5
    return image, text, torch.tensor([5, 2, 8, 5, 3, 8, 9]), torch.tensor([3, 5, 6])  # two tokens occur twice


def test_activations_are_those_of_the_paper(logits):
    image, text, ids, wanted = logits
    found = token_activations(*logits)
    for row, target in enumerate(wanted.tolist()):
        expected = activations_by_hand(image.numpy(), text[:, row].numpy(), ids.numpy(), target)
        torch.testing.assert_close(found[row], torch.from_numpy(expected), atol=1e-12, rtol=1e-10)
        assert found[row].std() > 0.05


def test_later_tokens_and_the_same_word_do_not_interfere(logits):
    image, text, ids, wanted = logits
    changed, words = image.clone(), text.clone()
    changed[:, 4:] += 1  # after the first wanted token
    changed[:, 0] += 1  # the same word as it
    words[4:, 0] += 1
    torch.testing.assert_close(
        token_activations(changed, words, ids, wanted)[0], token_activations(image, text, ids, wanted)[0]
    )


def test_what_earlier_tokens_explain_is_gone():
    """A map that is twice that of the word before has nothing of its own; what is added to it is left."""
    before = torch.rand(20) + 0.1
    own = torch.zeros(20)
    own[[3, 11]] = 5.0
    weights = torch.ones(1, 1)
    assert not subtract_interference(2 * before[None], before[None], weights).gt(1e-5).any()
    left = subtract_interference((2 * before + own)[None], before[None], weights)[0]
    assert set(left.topk(2).indices.tolist()) == {3, 11}


def test_the_first_token_of_all_keeps_its_activations():
    image = torch.tensor([[1.0], [3.0], [-2.0], [2.0]])
    found = token_activations(image, torch.tensor([[7.0]]), torch.tensor([4]), torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([[1 / 3, 1.0, 0.0, 2 / 3]]))


def test_words_that_activate_a_token_more_than_the_image_make_its_map_dark(logits):
    image, text, ids, wanted = logits
    strong = text.clone()
    strong[0, 1] = 100 * text.abs().max()
    assert token_activations(image, strong, ids, wanted)[1].max() < 0.1
    assert token_activations(image, text, ids, wanted)[1].max() > 0.5


def test_an_image_that_activates_nothing_has_an_empty_map():
    found = token_activations(-torch.rand(6, 2), torch.zeros(2, 1), torch.tensor([1, 2]), torch.tensor([1]))
    assert found.tolist() == [[0.0] * 6]


@pytest.mark.parametrize("shape", [(4, 4), (7, 5), (2, 9)])
def test_the_filter_is_that_of_the_paper(shape):
    image = np.random.default_rng(1).random((2, *shape)) ** 3
    image[1, :2] = 0
    image[1, -1] = 0.5
    expected = np.stack([filtered_by_hand(one) for one in image])
    torch.testing.assert_close(
        rank_gaussian_filter(torch.from_numpy(image)), torch.from_numpy(expected), atol=1e-12, rtol=1e-10
    )


def test_the_filter_removes_a_single_bright_cell_and_keeps_a_region():
    image = torch.full((1, 8, 8), 0.1)
    image[0, 4, 4] = 1.0
    assert rank_gaussian_filter(image)[0, 4, 4] < 0.15
    image[0, 3:6, 3:6] = 1.0
    assert rank_gaussian_filter(image)[0, 4, 4] == 1.0


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (1, 1)])
def test_the_filter_takes_strips(shape):
    image = torch.rand(1, *shape)
    found = rank_gaussian_filter(image)
    assert found.shape == image.shape
    assert image.min() <= found.min() <= found.max() <= image.max()
