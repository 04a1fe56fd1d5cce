"""The package's metrics for torchmetrics: inside a ``MetricCollection``, or logged by Lightning."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from mmgrad_explain.metrics.sample_metric import SampleMetric


def as_torchmetric(metric: SampleMetric) -> Any:
    """Return a ``torchmetrics.Metric`` with the figures of a metric; torchmetrics synchronizes and resets it.

    Args:
        metric: Measures the batches; it stays empty itself.

    Returns:
        A ``torchmetrics.Metric``: ``update`` takes the arguments of the metric's ``measure``, ``compute`` returns the
        means by name.

    Raises:
        InputError: torchmetrics is missing.
    """
    return _adapter()(metric)


@cache
def _adapter() -> Any:
    try:
        from torchmetrics import Metric
    except ImportError as error:
        raise InputError("as_torchmetric needs torchmetrics: pip install torchmetrics") from error

    class Adapter(Metric):  # type: ignore[misc,unused-ignore]
        """Keeps the rows of all batches; the means come last."""

        full_state_update = False
        rows: list[Tensor]

        def __init__(self, metric: SampleMetric) -> None:
            super().__init__()
            self.metric = metric
            self.add_state("rows", default=[], dist_reduce_fx="cat")

        def update(self, *args: Any, **options: Any) -> None:
            found = self.metric.measure(*args, **options)
            table = torch.stack([found[name].detach().float() for name in self.metric.figures], 1)
            self.rows.append(table.to(self.device))

        def compute(self) -> dict[str, Tensor]:
            rows = self.rows if isinstance(self.rows, list) else [self.rows]
            table = torch.cat([torch.zeros(0, len(self.metric.figures), device=self.device), *rows])
            return dict(zip(self.metric.figures, table.nanmean(0), strict=True))

        def __reduce__(self) -> Any:
            return _restore, (self.metric, self.__getstate__())

    return Adapter


def _restore(metric: SampleMetric, state: dict[str, Any]) -> Any:
    """Make an adapter of its pickled state."""
    made = as_torchmetric(metric)
    made.__setstate__(state)
    return made
