"""Integrated gradients against a plain sum along the path, and its completeness."""

import pytest
import torch
from torch import nn

from mmgrad_explain.attention.reruns.integrated_gradients import integrated_gradients
from mmgrad_explain.errors import GradientError, InputError


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 36, 1)).double()


def score_of(network):
    return lambda points: network(points)[:, 0]


def test_it_is_the_way_times_the_mean_gradient(network):
    values, baseline = torch.rand(2, 3, 8, 8).double(), torch.rand(2, 3, 8, 8).double()
    found = integrated_gradients(score_of(network), values, baseline, steps=40, at_once=7)
    total, points = torch.zeros_like(values), 4000
    for step in range(points):
        at = (baseline + (step + 0.5) / points * (values - baseline)).requires_grad_()
        total += torch.autograd.grad(network(at).sum(), at)[0] / points
    torch.testing.assert_close(found, (values - baseline) * total, atol=1e-6, rtol=1e-4)


def test_the_sum_is_the_difference_of_the_scores(network):
    values, baseline = torch.rand(3, 3, 8, 8).double(), torch.zeros(3, 3, 8, 8).double()
    found = integrated_gradients(score_of(network), values, baseline, steps=30, at_once=4)
    expected = (network(values) - network(baseline))[:, 0]
    torch.testing.assert_close(found.sum((1, 2, 3)), expected, atol=1e-6, rtol=1e-5)


def test_steps_at_once_change_nothing(network):
    values, baseline = torch.rand(2, 3, 8, 8).double(), torch.rand(2, 3, 8, 8).double()
    one, many = (integrated_gradients(score_of(network), values, baseline, steps=9, at_once=n) for n in (1, 9))
    torch.testing.assert_close(one, many)


def test_progress_counts_steps(network):
    seen = []
    values = torch.rand(1, 3, 8, 8).double()
    integrated_gradients(score_of(network), values, 0 * values, steps=5, at_once=2,
                         progress=lambda done, of: seen.append((done, of)))  # fmt: skip
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_what_cannot_be_integrated_is_refused(network):
    values = torch.rand(1, 3, 8, 8).double()
    with pytest.raises(InputError, match="steps"):
        integrated_gradients(score_of(network), values, 0 * values, steps=0)
    with pytest.raises(GradientError, match="occlusion"):
        integrated_gradients(lambda points: network(points.detach())[:, 0].detach(), values, 0 * values)
    with pytest.raises(GradientError, match="not finite"):
        integrated_gradients(lambda points: (points * float("inf")).sum((1, 2, 3)), values, 0 * values)
