"""How well maps agree with a causal reference: correlations with bootstrap intervals. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmgrad_explain.attention.reruns.occlusion import pool_maps

if TYPE_CHECKING:
    from torch import Tensor

DRAWS = 2000
"""How many bootstrap samples an interval is made of."""


@dataclass(frozen=True)
class Agreement:
    """The mean agreement of one kind of map over the samples.

    Attributes:
        mean: Mean correlation with the reference, in [-1, 1].
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


def correlate(maps: Tensor, reference: Tensor) -> Tensor:
    """Compute the correlation of maps with reference maps, sample by sample.

    Args:
        maps: (B, h, w); negative values are cut off, as they are in what a user sees.
        reference: (B, g, g), signed; the maps are brought onto its grid.

    Returns:
        (B,) float32 in [-1, 1], Pearson's correlation; 0 for a flat map or a flat reference.
    """
    grid = (reference.shape[1], reference.shape[2])
    first, second = (
        values - values.mean(1, keepdim=True)
        for values in (pool_maps(maps.relu(), grid).double().cpu().flatten(1), reference.double().cpu().flatten(1))
    )
    size = first.norm(dim=1) * second.norm(dim=1)
    tiny = torch.finfo(torch.float32).tiny
    return torch.where(size > tiny, (first * second).sum(1) / size.clamp(min=tiny), 0.0).float()


def summarize(values: Tensor, seed: int = 0) -> Agreement:
    """Compute the mean of some values and its 95 % bootstrap interval.

    Args:
        values: (N,), one a sample.
        seed: Of the bootstrap samples.
    """
    means = _resampled_means(values, seed)
    low, high = means.quantile(torch.tensor([0.025, 0.975])).tolist()
    return Agreement(float(values.mean()), low, high)


def is_above(first: Tensor, second: Tensor, seed: int = 0) -> bool:
    """Return whether the mean of paired values is above that of others by more than their 95 % interval.

    Args:
        first: (N,).
        second: (N,), of the same samples.
        seed: Of the bootstrap samples.
    """
    return bool(_resampled_means(first - second, seed).quantile(0.025) > 0)


def _resampled_means(values: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(len(values), (DRAWS, len(values)), generator=generator)
    return values.float()[index].mean(1)
