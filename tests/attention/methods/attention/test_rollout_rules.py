"""Rollout against the product of normalised matrices, written out."""

import torch

from mmgrad_explain.attention.attention_layers.flow import AttentionFlow, Tokens
from mmgrad_explain.attention.methods.attention.rollout_rules import roll_out

DRAW = torch.Generator().manual_seed(4)


def attention(queries, keys, batch=2):
    return torch.rand(batch, queries, keys, generator=DRAW, dtype=torch.float64).softmax(-1)


def tokens(stream, *calls):
    return Tokens(stream, frozenset(calls))


def test_a_stream_of_blocks_is_the_product_of_rows_of_attention_plus_identity_divided_by_their_sums():
    blocks = [attention(4, 4) for _ in range(3)]
    chain = tuple(tokens(0, *range(block)) for block in range(3))
    (found,) = roll_out(AttentionFlow(chain, chain, (tokens(0, 0, 1, 2),), (4,)), blocks)
    for sample in range(2):
        expected = torch.eye(4, dtype=torch.float64)
        for block in blocks:
            mixed = block[sample] + torch.eye(4)
            expected = mixed / mixed.sum(1, keepdim=True) @ expected
        torch.testing.assert_close(found[0][sample], expected)


def test_a_decoder_takes_half_from_what_it_reads_and_nothing_is_lost():
    image, own, cross = attention(5, 5), attention(3, 3), attention(3, 5)
    flow = AttentionFlow(
        (tokens(0), tokens(1), tokens(1, 1)), (tokens(0), tokens(1), tokens(0, 0)), (tokens(1, 1, 2),), (5, 3)
    )
    (found,) = roll_out(flow, [image, own, cross])
    eye = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(found[0], cross @ (image + eye) / 4)
    torch.testing.assert_close(found[0].sum(-1) + found[1].sum(-1), torch.ones(2, 3, dtype=torch.float64))


def test_probabilities_that_do_not_sum_to_one_are_divided_by_their_sum():
    block = attention(4, 4)
    flow = AttentionFlow((tokens(0),), (tokens(0),), (tokens(0, 0),), (4,))
    torch.testing.assert_close(roll_out(flow, [block * 3])[0][0], roll_out(flow, [block])[0][0])
