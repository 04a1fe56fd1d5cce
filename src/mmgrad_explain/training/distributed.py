"""Training on several processes that ``torchrun`` starts: each computes its part of one batch.

The optimizer applies the mean of the processes' gradients. So that this is the gradient of a mean over the batch, each
process computes the sum over its own part, times the number of processes, divided by the count in all parts
(:func:`mean_over_all`). With one process this is the plain mean.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")


def count_processes() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process is the one that writes; works before the processes have joined, too."""
    return (distributed.get_rank() if count_processes() > 1 else int(os.environ.get("RANK", "0"))) == 0


def wait_for_all() -> None:
    """Wait until all processes have called this."""
    broadcast(None)


def broadcast(value: _T) -> _T:
    """Return the first process's value in all processes; all of them must call it."""
    if count_processes() == 1:
        return value
    shared: list[Any] = [value]
    distributed.broadcast_object_list(shared, src=0)
    return shared[0]  # type: ignore[no-any-return]


def mean_of_processes(values: Tensor) -> Tensor:
    """Return the mean of a tensor over the processes, without a gradient; all processes must call it."""
    if count_processes() == 1:
        return values
    values = values.detach().clone()
    distributed.all_reduce(values)
    return values / count_processes()


def mean_over_all(values: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return this process's part of a mean over the samples of all processes; all of them must call it.

    Args:
        values: ``(B,)``, zero for samples that do not count; may be empty.
        counted: ``(B,)`` bool, the samples that the mean is over; None for all.

    Returns:
        A number: the sum of ``values`` times the number of processes, divided by the number of counted samples in all
        processes. The mean of these numbers over the processes is the mean over the samples; 0 if none counts.
    """
    counted = torch.ones_like(values, dtype=torch.bool) if counted is None else counted
    count = counted.sum()
    if count_processes() == 1:
        return values.sum() / count.clamp(min=1)
    distributed.all_reduce(count)
    return values.sum() * count_processes() / count.clamp(min=1)


def join_galleries(gallery: Tensor, targets: int) -> tuple[Tensor, int]:
    """Join the galleries of all processes; gradients flow back to the process that each row comes from.

    Args:
        gallery: This process's targets, then its references, ``(N + S, D)``, or ``(N + S, Q, D)``.
        targets: ``N``; may differ between processes.

    Returns:
        All targets, then all references, each in the order of the processes; and the index of this process's first
        target.
    """
    if count_processes() == 1:
        return gallery, 0
    own = torch.tensor([targets, len(gallery) - targets], device=gallery.device)
    every = [torch.empty_like(own) for _ in range(count_processes())]
    distributed.all_gather(every, own)
    of_targets, of_references = torch.stack(every).T.tolist()
    parts = [_Gather.apply(gallery[:targets], of_targets), _Gather.apply(gallery[targets:], of_references)]
    return torch.cat(parts), sum(of_targets[: distributed.get_rank()])


class _Gather(torch.autograd.Function):
    """Join rows of all processes, ``(N_0, ...), (N_1, ...)...`` to ``(N_0 + N_1 + ..., ...)``."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, lengths: Sequence[int]) -> Tensor:
        inside = (0, 0) * (rows.ndim - 1)
        padded = F.pad(rows, (*inside, 0, max(lengths) - len(rows))).contiguous()
        parts = [torch.empty_like(padded) for _ in lengths]
        distributed.all_gather(parts, padded)
        start = sum(lengths[: distributed.get_rank()])
        ctx.own = slice(start, start + len(rows))
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient[ctx.own], None
