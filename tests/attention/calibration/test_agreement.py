"""Agreement of maps with a reference, and its intervals."""

import numpy as np
import pytest
import torch

from mmgrad_explain.attention.calibration.agreement import correlate, is_above, summarize


def test_it_is_pearsons_correlation():
    maps, reference = torch.rand(3, 8, 8), torch.randn(3, 8, 8)
    for found, one, other in zip(correlate(maps, reference), maps, reference, strict=True):
        assert float(found) == pytest.approx(np.corrcoef(one.flatten(), other.flatten())[0, 1], abs=1e-5)


def test_maps_are_brought_onto_the_references_grid():
    reference = torch.rand(1, 4, 4)
    fine = reference.repeat_interleave(3, 1).repeat_interleave(3, 2)
    assert float(correlate(fine, reference)) == pytest.approx(1, abs=1e-6)


def test_negative_values_of_a_map_are_cut_off():
    reference = torch.rand(1, 6, 6)
    maps = torch.where(reference > 0.5, reference, -5 * torch.rand(1, 6, 6))
    assert torch.equal(correlate(maps, reference), correlate(maps.clamp(min=0), reference))


def test_a_flat_map_and_a_flat_reference_agree_with_nothing():
    assert correlate(torch.zeros(2, 4, 4), torch.rand(2, 4, 4)).tolist() == [0, 0]
    assert correlate(torch.rand(2, 4, 4), torch.ones(2, 4, 4)).tolist() == [0, 0]


def test_an_interval_holds_the_mean_and_narrows_with_more_samples():
    generator = torch.Generator().manual_seed(1)
    few, many = (summarize(torch.randn(count, generator=generator)) for count in (8, 64))
    assert few.low < few.mean < few.high
    assert many.high - many.low < few.high - few.low
    assert many.high - many.low == pytest.approx(2 * 1.96 / 8, rel=0.3)
    assert summarize(torch.full((9,), 0.25)).low == pytest.approx(0.25)


def test_pairs_are_told_apart_where_single_means_are_not():
    base = torch.linspace(-1, 1, 24)
    assert is_above(base + 0.05 + 0.01 * torch.sin(torch.arange(24)), base)
    assert not is_above(base, base)
    assert not is_above(base.flip(0), base)
