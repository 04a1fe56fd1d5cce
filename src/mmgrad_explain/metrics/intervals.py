"""Bootstrap intervals of means: by samples, or by groups of samples that belong together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.float64 import to_float64

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

_AT_ONCE = 2**24  # numbers held while draws are made


class Interval(NamedTuple):
    """A mean and its bootstrap interval.

    Attributes:
        mean: Of the values that are not NaN; NaN where there are none.
        low: Lower end; NaN where a mean cannot vary (fewer than two groups).
        high: Upper end, likewise.
        known: How many values were not NaN.
    """

    mean: float
    low: float
    high: float
    known: int

    def describe(self, digits: int = 3) -> str:
        """Write ``"0.512 [0.470, 0.553]"``; the mean alone where there is no interval, a dash where there is no value.

        Args:
            digits: Decimal places.
        """
        if not self.known:
            return "–"
        if math.isnan(self.low):
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def bootstrap_interval(
    values: Tensor,
    groups: Sequence[Hashable] | Tensor | None = None,
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Compute the mean of values and its percentile bootstrap interval.

    Several texts about one image are not independent samples: with ``groups`` whole groups are drawn with replacement,
    and the mean is taken over the values of the drawn groups (the cluster bootstrap). The generator is the function's
    own, so that the same values have the same interval.

    Args:
        values: ``(N,)``; NaN counts as unknown and is left out.
        groups: To which group each value belongs, for example its image; each value is its own group when None.
        level: The share of draws inside the interval, in (0, 1).
        draws: How many times the sample is drawn again.
        seed: Seed of the draws.

    Raises:
        InputError: ``values`` is not ``(N,)``, ``groups`` has another length, or ``level`` or ``draws`` is out of
            range.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval); Field and
    Welsh, Bootstrapping clustered data, JRSS B 2007 (draws of whole clusters).
    """
    if values.dim() != 1:
        raise InputError(f"values must be (N,), got {tuple(values.shape)}")
    if not 0 < level < 1 or draws < 1:
        raise InputError(f"level must be in (0, 1) and draws at least 1, got {level} and {draws}")
    numbers = range(len(values)) if groups is None else groups.tolist() if isinstance(groups, Tensor) else groups
    if len(numbers) != len(values):
        raise InputError(f"groups must name one group a value: {len(numbers)} groups, {len(values)} values")
    known = to_float64(values.detach()).cpu()
    there = ~known.isnan()
    count = int(there.sum())
    if not count:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    places: dict[Hashable, int] = {}
    index = torch.tensor([places.setdefault(number, len(places)) for number in numbers])[there]
    sums = torch.zeros(len(places), dtype=torch.float64).index_add_(0, index, known[there])
    sizes = torch.zeros(len(places), dtype=torch.float64).index_add_(0, index, torch.ones(count, dtype=torch.float64))
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    mean = float(sums.sum() / count)
    if len(sums) < 2:
        return Interval(mean, float("nan"), float("nan"), count)
    means = _drawn_means(sums, sizes, draws, seed)
    tail = (1 - level) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(mean, low, high, count)


def _drawn_means(sums: Tensor, sizes: Tensor, draws: int, seed: int) -> Tensor:
    """Draw groups with replacement, and take the mean of their values: ``(draws,)``."""
    generator = torch.Generator().manual_seed(seed)
    means = []
    step = max(1, _AT_ONCE // len(sums))
    for start in range(0, draws, step):
        chosen = torch.randint(len(sums), (min(step, draws - start), len(sums)), generator=generator)
        means.append(sums[chosen].sum(1) / sizes[chosen].sum(1))
    return torch.cat(means)
