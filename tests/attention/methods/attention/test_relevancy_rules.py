"""The rules against the equations of arXiv 2103.15679 written out in float64, one matrix after the other."""

import pytest
import torch

from mmgrad_explain.attention.attention_layers.flow import AttentionFlow, Tokens
from mmgrad_explain.attention.methods.attention.relevancy_rules import mean_positive, normalise_rows, propagate

DRAW = torch.Generator().manual_seed(3)


def weights(queries, keys, batch=2):
    return torch.rand(batch, queries, keys, generator=DRAW, dtype=torch.float64)


def tokens(stream, *calls):
    return Tokens(stream, frozenset(calls))


def bar(relevancy):
    """Equations 8 and 9, row by row."""
    out = torch.eye(len(relevancy), dtype=torch.float64)
    for row in range(len(relevancy)):
        rest = relevancy[row].clone()
        rest[row] -= 1
        out[row] += rest / rest.sum()
    return out


def test_the_mean_over_heads_is_taken_of_the_positive_part():
    attention, gradient = torch.tensor([[[[0.2]], [[0.8]]]]), torch.tensor([[[[3.0]], [[-1.0]]]])
    assert mean_positive(attention, gradient).item() == pytest.approx(0.3)


def test_a_stream_of_blocks_multiplies_their_attention_with_the_identity():
    blocks = [weights(4, 4) for _ in range(3)]
    chain = tuple(tokens(0, *range(block)) for block in range(3))
    (found,) = propagate(AttentionFlow(chain, chain, (tokens(0, 0, 1, 2),), (4,)), blocks)
    for sample in range(2):
        expected = torch.eye(4, dtype=torch.float64)
        for block in blocks:
            expected = expected + block[sample] @ expected
        torch.testing.assert_close(found[0][sample], expected)


def test_an_encoder_and_a_decoder_follow_equations_6_to_10():
    image, text, cross = [weights(5, 5), weights(5, 5)], [weights(3, 3), weights(3, 3)], [weights(3, 5), weights(3, 5)]
    flow = AttentionFlow(
        queries=(tokens(0), tokens(0, 0), tokens(1), tokens(1, 2), tokens(1, 2, 3), tokens(1, 2, 3, 4)),
        keys=(tokens(0), tokens(0, 0), tokens(1), tokens(0, 0, 1), tokens(1, 2, 3), tokens(0, 0, 1)),
        read=(tokens(1, 2, 3, 4, 5),),
        lengths=(5, 3),
    )
    (found,) = propagate(flow, [*image, text[0], cross[0], text[1], cross[1]])
    for sample in range(2):
        ii, tt, ti = torch.eye(5).double(), torch.eye(3).double(), torch.zeros(3, 5).double()
        for block in image:
            ii = ii + block[sample] @ ii
        for own, other in zip(text, cross, strict=True):
            tt, ti = tt + own[sample] @ tt, ti + own[sample] @ ti
            ti = ti + bar(tt).T @ other[sample] @ bar(ii)
        torch.testing.assert_close(found[0][sample], ti)
        torch.testing.assert_close(found[1][sample], tt)


def test_two_streams_that_read_each_other_at_once_follow_equations_10_and_11():
    own_text, own_image = weights(3, 3), weights(4, 4)
    first_ti, first_it, last_ti = weights(3, 4), weights(4, 3), weights(3, 4)
    flow = AttentionFlow(
        queries=(tokens(0), tokens(1), tokens(0, 0), tokens(1, 1), tokens(0, 0, 2)),
        keys=(tokens(0), tokens(1), tokens(1, 1), tokens(0, 0), tokens(1, 1, 3)),  # call 3 does not see call 2
        read=(tokens(0, 0, 2, 4),),
        lengths=(3, 4),
    )
    (found,) = propagate(flow, [own_text, own_image, first_ti, first_it, last_ti])
    for sample in range(2):
        tt, ii = torch.eye(3).double(), torch.eye(4).double()
        ti, it = torch.zeros(3, 4).double(), torch.zeros(4, 3).double()
        tt, ii = tt + own_text[sample] @ tt, ii + own_image[sample] @ ii
        more_ti, more_tt = bar(tt).T @ first_ti[sample] @ bar(ii), first_ti[sample] @ it
        more_it, more_ii = bar(ii).T @ first_it[sample] @ bar(tt), first_it[sample] @ ti
        ti, tt, it, ii = ti + more_ti, tt + more_tt, it + more_it, ii + more_ii
        ti, tt = ti + bar(tt).T @ last_ti[sample] @ bar(ii), tt + last_ti[sample] @ it
        torch.testing.assert_close(found[0][sample], tt)
        torch.testing.assert_close(found[1][sample], ti)


def test_what_both_sides_of_a_sum_carry_counts_once():
    tower, deeper, cross = weights(4, 4), weights(4, 4), weights(4, 4)
    flow = AttentionFlow(  # a cross layer and a deeper block of the tower both begin with block 0, and are added
        queries=(tokens(0), tokens(0, 0), tokens(0, 0)),
        keys=(tokens(0), tokens(0, 0), tokens(0, 0)),
        read=(tokens(0, 0, 1, 2),),
        lengths=(4,),
    )
    (found,) = propagate(flow, [tower, deeper, cross])
    after = torch.eye(4).double() + tower
    torch.testing.assert_close(found[0], after + deeper @ after + cross @ after)


def test_a_call_without_effect_on_the_score_passes_nothing_on():
    chain = (tokens(0), tokens(0, 0), tokens(0, 0, 1))
    with_it = AttentionFlow(chain, chain, (tokens(0, 0, 1, 2),), (4,))
    first, last = weights(4, 4), weights(4, 4)
    (found,) = propagate(with_it, [first, None, last])
    (expected,) = propagate(AttentionFlow(chain[:2], chain[:2], (tokens(0, 0, 1),), (4,)), [first, last])
    torch.testing.assert_close(found[0], expected[0])
    assert propagate(with_it, [None] * 3) == [{}]


def test_a_row_without_relevancy_keeps_the_identity():
    relevancy = torch.eye(3).double()[None].clone()
    relevancy[0, 0, 1] = 2.0
    expected = torch.tensor([[[1.0, 1, 0], [0, 1, 0], [0, 0, 1]]], dtype=torch.float64)
    torch.testing.assert_close(normalise_rows(relevancy), expected)


def test_the_rules_can_be_differentiated():
    def row(own, cross, image):
        flow = AttentionFlow(
            (tokens(0), tokens(1), tokens(1, 1)), (tokens(0), tokens(1), tokens(0, 0)), (tokens(1, 1, 2),), (3, 2)
        )
        return propagate(flow, [image, own, cross])[0][0]

    inputs = [weights(2, 2, 1), weights(2, 3, 1), weights(3, 3, 1)]
    assert torch.autograd.gradcheck(row, [one.requires_grad_() for one in inputs])
