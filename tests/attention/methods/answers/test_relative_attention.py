"""Relative attention: its formulas on tensors. On models: tests/composers/generative/test_methods_of_answers.py."""

import pytest
import torch

from mmgrad_explain.attention.methods.answers.relative_attention import (
    attention_of_rows,
    middle_block,
    relative_attention,
)


def test_attention_is_the_mean_over_heads_and_positions():
    torch.manual_seed(0)
    probabilities = torch.rand(2, 3, 5, 5, dtype=torch.float64)
    rows = torch.tensor([[0, 0, 1, 0, 0], [0, 1, 0, 0, 1]]).bool()
    found = attention_of_rows(probabilities, rows)
    torch.testing.assert_close(found[0], probabilities[0, :, 2].mean(0))
    torch.testing.assert_close(found[1], (probabilities[1, :, 1] + probabilities[1, :, 4]).mean(0) / 2)
    assert attention_of_rows(probabilities.bfloat16(), rows).dtype == torch.float32


def test_what_both_attend_to_cancels_out():
    asked, neutral = torch.full((1, 4, 4), 0.01), torch.full((1, 4, 4), 0.01)
    asked[0, 0, 0] = neutral[0, 0, 0] = 0.9  # a sink
    asked[0, 2, 1] = 0.05
    found = relative_attention(asked, neutral)[0]
    assert found[0, 0] == 1.0
    assert found[2, 1] == pytest.approx(5.0)
    assert found.sum() == pytest.approx(20.0)


def test_no_attention_at_all_is_no_infinite_ratio():
    neutral = torch.ones(1, 2, 2)
    neutral[0, 0, 0] = 0.0
    found = relative_attention(torch.ones(1, 2, 2), neutral)
    assert found.isfinite().all()
    assert found[0, 0, 0] == pytest.approx(1 / (1e-3 * 0.75))
    assert not relative_attention(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)).any()


@pytest.mark.parametrize(("count", "expected"), [(32, 14), (2, 0), (1, 0), (28, 12), (40, 17)])
def test_the_block_is_at_the_depth_of_the_paper(count, expected):
    assert middle_block([str(index) for index in range(count)]) == str(expected)
