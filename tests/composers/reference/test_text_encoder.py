"""The text encoder."""

import pytest
import torch

from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.text_encoder import Attention, TextEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TextEncoder(NetworkConfig(vocab_size=9, max_words=5, text_width=16, text_layers=1, heads=2)).eval()


def test_a_sentence_is_the_mean_of_its_words_in_context(encoder):
    ids = torch.tensor([[3, 4, 5]])
    words, sentence = encoder(ids, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(sentence, words.mean(1))
    other, _ = encoder(torch.tensor([[3, 4, 6]]), torch.ones(1, 3, dtype=torch.bool))
    assert not torch.allclose(other[:, 0], words[:, 0])  # of the same word


def test_padding_says_nothing(encoder):
    mask = torch.tensor([[True, True, False, False]])
    first, second = (encoder(torch.tensor([[3, 4, *rest]]), mask) for rest in ((0, 0), (7, 8)))
    torch.testing.assert_close(first[0][:, :2], second[0][:, :2])
    torch.testing.assert_close(first[1], second[1])


def test_the_order_of_words_matters(encoder):
    mask = torch.ones(1, 2, dtype=torch.bool)
    assert not torch.allclose(encoder(torch.tensor([[3, 4]]), mask)[1], encoder(torch.tensor([[4, 3]]), mask)[1])


def test_attention_has_a_second_derivative():
    torch.manual_seed(0)
    attention = Attention(8, 2)
    x, memory = torch.randn(1, 3, 8, requires_grad=True), torch.randn(1, 4, 8)
    first = torch.autograd.grad(attention(x, memory, torch.ones(1, 4).bool()).square().sum(), x, create_graph=True)[0]
    assert torch.autograd.grad(first.square().sum(), x)[0].abs().max() > 0
