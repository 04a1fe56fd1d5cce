"""Bootstrap intervals: the mean, its spread, and samples that belong together."""

import math

import pytest
import torch

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics import bootstrap_interval


def test_it_has_the_width_of_the_normal_interval_where_that_holds():
    values = torch.randn(400, dtype=torch.float64)
    found = bootstrap_interval(values, draws=4000)
    half = 1.96 * float(values.std(correction=0)) / math.sqrt(400)
    assert found.mean == pytest.approx(float(values.mean()))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.08)
    assert found.known == 400


def test_nineteen_of_twenty_intervals_hold_the_mean():
    held = 0
    for seed in range(200):
        values = torch.rand(60, generator=torch.Generator().manual_seed(seed))
        found = bootstrap_interval(values, draws=400)
        held += found.low <= 0.5 <= found.high
    assert 180 <= held <= 198


def test_copies_within_a_group_make_it_no_narrower():
    values = torch.rand(40)
    alone = bootstrap_interval(values)
    copied = bootstrap_interval(values.repeat_interleave(9), [i // 9 for i in range(360)])
    blind = bootstrap_interval(values.repeat_interleave(9))
    assert copied.low == pytest.approx(alone.low, abs=1e-9)
    assert copied.high == pytest.approx(alone.high, abs=1e-9)
    assert blind.high - blind.low < 0.5 * (copied.high - copied.low)


def test_groups_of_different_sizes_keep_the_mean_of_the_values():
    values, groups = torch.tensor([1.0, 0.0, 0.0, 0.0]), ["a", "b", "b", "b"]
    found = bootstrap_interval(values, groups)
    assert found.mean == 0.25
    assert (found.low, found.high) == (0.0, 1.0)


def test_unknown_values_are_left_out():
    values = torch.tensor([1.0, float("nan"), 0.0, float("nan")])
    assert bootstrap_interval(values)[0::3] == (0.5, 2)
    assert bootstrap_interval(values, torch.tensor([0, 0, 1, 2]))[0::3] == (0.5, 2)


def test_the_same_values_have_the_same_interval_and_the_global_generator_stays():
    state = torch.get_rng_state()
    values = torch.arange(30) / 30
    assert bootstrap_interval(values) == bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    assert torch.equal(state, torch.get_rng_state())


def test_where_a_mean_cannot_vary_there_is_no_interval():
    one = bootstrap_interval(torch.tensor([0.25]))
    assert one.describe() == "0.250"
    assert math.isnan(one.low)
    assert bootstrap_interval(torch.zeros(0)).describe() == "–"
    assert bootstrap_interval(torch.tensor([0.0, 0.0, 1.0, 1.0])).describe(1) == "0.5 [0.0, 1.0]"


def test_many_groups_are_drawn_in_parts(monkeypatch):
    values = torch.rand(50)
    whole = bootstrap_interval(values)
    monkeypatch.setattr("mmgrad_explain.metrics.intervals._AT_ONCE", 500)
    assert bootstrap_interval(values) == whole


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (torch.zeros(2, 2), {}, r"values must be \(N,\), got \(2, 2\)"),
        (torch.zeros(3), {"groups": [1]}, "one group a value: 1 groups, 3 values"),
        (torch.zeros(3), {"level": 1.0}, "level must be in"),
        (torch.zeros(3), {"draws": 0}, "draws at least 1"),
    ],
)
def test_wrong_arguments(values, options, message):
    with pytest.raises(InputError, match=message):
        bootstrap_interval(values, **options)
