"""Which tokens attention calls read, found from the graph of models written by hand."""

from types import SimpleNamespace

import torch
from torch import nn

from mmgrad_explain.attention.attention_layers.flow import Tokens, find_attention_flow


class Attention(nn.Module):
    """One head; each call is kept."""

    def __init__(self, calls, width=4):
        super().__init__()
        self.calls = calls
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, y=None):
        y = x if y is None else y
        queries, keys, values = self.q(x)[:, None], self.k(y)[:, None], self.v(y)[:, None]
        probabilities = (queries @ keys.transpose(2, 3)).softmax(-1)
        output = probabilities @ values
        call = {"probabilities": probabilities, "queries": queries, "keys": keys, "output": output}
        self.calls.append(SimpleNamespace(**call))
        return self.out(output[:, 0])


def tokens(stream, *calls):
    return Tokens(stream, frozenset(calls))


def setup(count):
    calls = []
    return calls, [Attention(calls) for _ in range(count)]


def test_blocks_with_residual_connections_are_one_stream():
    calls, layers = setup(3)
    x = torch.randn(2, 5, 4)
    for layer in layers:
        x = x + layer(nn.functional.layer_norm(x, (4,)))
        x = x + x.relu()
    flow = find_attention_flow(calls, x[:, 0].sum(1))
    assert flow.queries == flow.keys == (tokens(0), tokens(0, 0), tokens(0, 0, 1))
    assert flow.read == (tokens(0, 0, 1, 2),)
    assert flow.lengths == (5,)
    assert not flow.unskipped


def test_blocks_without_residual_connections_are_one_stream_too_and_told_apart():
    for count in (2, 3):
        calls, blocks = setup(count)
        x = torch.randn(1, 5, 4)
        for block in blocks:
            x = block(x)
            x = x + x.relu()
        flow = find_attention_flow(calls, x.sum((1, 2)))
        assert flow.queries[:2] == (tokens(0), tokens(0, 0))
        assert flow.read == (tokens(0, *range(count)),)
        assert flow.unskipped == {0}


def test_a_probe_that_reads_patches_is_a_stream_of_its_own():
    calls, (block, pooler) = setup(2)
    x = torch.randn(1, 5, 4)
    x = x + block(x)
    flow = find_attention_flow(calls, pooler(torch.zeros(1, 1, 4), x).sum((1, 2)))
    assert flow.queries == (tokens(0), tokens(1))
    assert flow.keys == (tokens(0), tokens(0, 0))
    assert flow.read == (tokens(1, 1),)
    assert flow.lengths == (5, 1)


def test_a_decoder_reads_an_encoder_whatever_their_lengths():
    for length in (3, 5):
        calls, (image, own, cross, last) = setup(4)
        x, text = torch.randn(1, 5, 4), torch.randn(1, length, 4)
        x = x + image(x)
        text = text + own(text)
        text = text + cross(text, x)
        text = text + last(text)
        flow = find_attention_flow(calls, text[:, 0].sum(1))
        assert flow.queries == (tokens(0), tokens(1), tokens(1, 1), tokens(1, 1, 2))
        assert flow.keys == (tokens(0), tokens(1), tokens(0, 0), tokens(1, 1, 2))
        assert flow.read == (tokens(1, 1, 2, 3),)


def test_two_streams_that_read_each_other_see_what_was_there_before():
    calls, (of_text, of_image, text_reads, image_reads) = setup(4)
    text, image = torch.randn(1, 3, 4), torch.randn(1, 5, 4)
    text, image = text + of_text(text), image + of_image(image)
    text, image = text + text_reads(text, image), image + image_reads(image, text)
    flow = find_attention_flow(calls, text[:, 0].sum(1) + image[:, 0].sum(1))
    assert flow.keys[2:] == (tokens(1, 1), tokens(0, 0))
    assert flow.read == (tokens(0, 0, 2), tokens(1, 1, 3))


def test_image_tokens_among_words_begin_a_new_stream():
    calls, (tower, first, second) = setup(3)
    image = torch.randn(1, 5, 4)
    image = image + tower(image)
    x = torch.cat([torch.randn(1, 2, 4), image, torch.randn(1, 1, 4)], 1)
    x = x + first(x)
    x = x + second(x)
    flow = find_attention_flow(calls, x[:, -1].sum(1))
    assert flow.queries == flow.keys == (tokens(0), tokens(1), tokens(1, 1))
    assert flow.read == (tokens(1, 1, 2),)
    assert flow.lengths == (5, 8)


def test_a_score_that_reads_the_tokens_of_one_call_reads_no_others():
    calls, (one, other) = setup(2)
    x = torch.randn(1, 5, 4)
    score = one(x).sum((1, 2))
    other(x)
    assert find_attention_flow(calls, score).read == (tokens(0, 0),)


def test_learned_queries_in_front_of_words_are_some_tokens_of_their_stream():
    calls, (own, cross, last) = setup(3)
    x, image = torch.randn(1, 8, 4), torch.randn(1, 5, 4)
    x = x + own(x)
    x = torch.cat([x[:, 2:5] + cross(x[:, 2:5], image), x[:, :2], x[:, 5:]], 1)
    x = x + last(x)
    flow = find_attention_flow(calls, x[:, 0].sum(1))
    assert flow.queries == (tokens(0), Tokens(0, frozenset({0}), (2, 3, 4)), tokens(0, 0, 1))
    assert flow.keys[1] == tokens(1)
    assert flow.read == (tokens(0, 0, 1, 2),)
    padded = flow.pad(1, torch.ones(1, 3, 5))
    assert padded.shape == (1, 8, 5)
    assert padded[0, :, 0].nonzero()[:, 0].tolist() == [2, 3, 4]


def test_a_query_that_is_the_mean_of_all_tokens_is_none_of_them():
    calls, (own, pooler) = setup(2)
    x = torch.randn(1, 5, 4)
    x = x + own(x)
    flow = find_attention_flow(calls, pooler(x.mean(1, keepdim=True), x).sum((1, 2)))
    assert flow.queries[1] == tokens(1)
    assert flow.keys[1] == tokens(0, 0)
    assert flow.read == (tokens(1, 1),)
