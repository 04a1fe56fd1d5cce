"""Metrics that collect figures over batches and processes: update, compute, reset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, distributed

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.intervals import Interval, bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


class SampleMetric(ABC):
    """Collects figures with one value a sample; the means come last.

    :meth:`update` takes a batch, :meth:`compute` gives the means over all batches, :meth:`reset` begins anew. Values
    stay on the CPU, so that a whole data set can be collected. A metric can be pickled.

    Where ``torch.distributed`` is initialized, :meth:`compute`, :meth:`samples` and :meth:`intervals` gather the values
    of all processes of the group; every process must call them, and each gets the same result. Processes may have
    seen different numbers of samples, or none. A distributed sampler repeats some samples so that all processes have
    equally many: pass ``ids`` to count each sample once.

    Args:
        group: The process group whose values belong together; None takes all processes.
        gather: Whether to gather at all; False keeps each process's own figures.
    """

    figures: tuple[str, ...] = ()
    """Names of the figures, in the order of the results."""

    def __init__(self, *, group: Any = None, gather: bool = True) -> None:
        self.group = group
        self.gather = gather
        self.reset()

    def reset(self) -> None:
        """Forget all samples of this process."""
        self._values: list[Tensor] = []
        self._ids: list[Hashable] = []
        self._groups: list[Hashable] = []

    @abstractmethod
    def measure(self, *args: Any, **options: Any) -> dict[str, Tensor]:
        """Compute the figures of a batch, ``(B,)`` each, without keeping them; the arguments are those of update."""

    def update(
        self,
        *args: Any,
        ids: Sequence[Hashable] | None = None,
        groups: Sequence[Hashable] | None = None,
        **options: Any,
    ) -> Self:
        """Add a batch.

        Args:
            *args: The arguments of :meth:`measure`.
            ids: The name of each sample in the data set, where a sample may come twice: it counts once.
            groups: To what each sample belongs, for example its image; :meth:`intervals` draws whole groups.
            **options: The arguments of :meth:`measure`.

        Returns:
            The metric.

        Raises:
            InputError: ``ids`` or ``groups`` does not have one entry a sample, or is given for some batches only; or
                as :meth:`measure`.
        """
        found = self.measure(*args, **options)
        rows = torch.stack([found[name].detach().double().cpu() for name in self.figures], 1)
        for name, given, kept in (("ids", ids, self._ids), ("groups", groups, self._groups)):
            if given is not None and len(given) != len(rows):
                raise InputError(f"{name} must have one entry a sample: {len(given)} for {len(rows)} samples")
            if len(self) and len(rows) and (given is None) != (not kept):
                raise InputError(f"{name} must be given for every batch or for none")
        self._ids += list(ids or ())
        self._groups += list(groups or ())
        self._values.append(rows)
        return self

    def samples(self) -> dict[str, Tensor]:
        """Return the values of all samples of all processes, ``(N,)`` float64 each; NaN where a figure is unknown."""
        return self._collect()[0]

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of each figure over the samples where it is known, as tensors ``()`` of float64.

        A figure that is known nowhere is NaN.
        """
        return {name: values.nanmean() for name, values in self.samples().items()}

    def intervals(self, *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> dict[str, Interval]:
        """Return the mean of each figure with its bootstrap interval.

        Args:
            level: As for :func:`~mmgrad_explain.metrics.intervals.bootstrap_interval`.
            draws: Likewise.
            seed: Likewise.

        Raises:
            InputError: ``level`` or ``draws`` is out of range.
        """
        values, groups = self._collect()
        return {
            name: bootstrap_interval(of, groups, level=level, draws=draws, seed=seed) for name, of in values.items()
        }

    def __len__(self) -> int:
        """Return how many samples this process has seen."""
        return sum(map(len, self._values))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the process group, which belongs to a running process."""
        return {**self.__dict__, "group": None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} samples; {', '.join(self.figures)})"

    def _collect(self) -> tuple[dict[str, Tensor], list[Hashable] | None]:
        """Gather the values of all processes, each sample once, and the groups of the samples."""
        empty = torch.zeros(0, len(self.figures), dtype=torch.float64)
        own = torch.cat([empty, *self._values]), self._ids, self._groups
        parts = [own]
        if self.gather and distributed.is_available() and distributed.is_initialized():
            parts = [own] * distributed.get_world_size(self.group)
            distributed.all_gather_object(parts, own, group=self.group)
        rows = torch.cat([values for values, _, _ in parts])
        ids, groups = ([entry for part in parts for entry in part[place]] for place in (1, 2))
        for name, entries in (("ids", ids), ("groups", groups)):
            if entries and len(entries) != len(rows):
                raise InputError(f"{name} must be given in all processes or in none")
        if ids:
            first: dict[Hashable, int] = {}
            for place, sample in enumerate(ids):
                first.setdefault(sample, place)
            kept = list(first.values())
            rows, groups = rows[kept], [groups[place] for place in kept] if groups else []
        return {name: rows[:, place] for place, name in enumerate(self.figures)}, groups or None
