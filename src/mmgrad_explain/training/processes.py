"""One training on several processes, as ``torchrun`` starts them: what each makes of its part belongs to one batch.

The gradient that is applied is the mean of the processes' gradients. A mean over the batch is therefore, in each
process, the sum over its own part times the number of processes, over the count in all parts (:func:`mean_over_all`):
the mean of these over the processes is the mean over the batch, and so is their gradient. With one process all of this
is nothing but the mean.
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


def processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes; known before the processes have joined, too."""
    return (distributed.get_rank() if processes() > 1 else int(os.environ.get("RANK", "0"))) == 0


def wait_for_all() -> None:
    """Go on when all processes are here."""
    from_first(None)


def from_first(value: _T) -> _T:
    """What the first process has; the others' values are not looked at. All processes must call it."""
    if processes() == 1:
        return value
    shared: list[Any] = [value]
    distributed.broadcast_object_list(shared, src=0)
    return shared[0]  # type: ignore[no-any-return]


def mean_of_processes(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes, without a gradient; all processes must call it."""
    if processes() == 1:
        return values
    values = values.detach().clone()
    distributed.all_reduce(values)
    return values / processes()


def mean_over_all(values: Tensor, counted: Tensor | None = None) -> Tensor:
    """This process's share of a mean over the samples of all processes; all of them must call it.

    Args:
        values: ``(B,)``, zero where they do not count; may be empty.
        counted: ``(B,)`` bool, which samples the mean is over; None for all.

    Returns:
        A number: the sum of ``values`` times the number of processes, over the number of counted samples of all of
        them. The mean of what the processes get is the mean over their samples; 0 where nothing counts.
    """
    counted = torch.ones_like(values, dtype=torch.bool) if counted is None else counted
    count = counted.sum()
    if processes() == 1:
        return values.sum() / count.clamp(min=1)
    distributed.all_reduce(count)
    return values.sum() * processes() / count.clamp(min=1)


def joined_gallery(gallery: Tensor, targets: int) -> tuple[Tensor, int]:
    """Join the galleries of all processes into one; gradients flow back to the process of each row.

    Args:
        gallery: This process's targets, then its references, ``(N + S, D)``.
        targets: ``N``; may differ between processes.

    Returns:
        All targets, then all references, each in the order of the processes; and the index of the first own target.
    """
    if processes() == 1:
        return gallery, 0
    own = torch.tensor([targets, len(gallery) - targets], device=gallery.device)
    every = [torch.empty_like(own) for _ in range(processes())]
    distributed.all_gather(every, own)
    of_targets, of_references = torch.stack(every).T.tolist()
    parts = [_Gather.apply(gallery[:targets], of_targets), _Gather.apply(gallery[targets:], of_references)]
    return torch.cat(parts), sum(of_targets[: distributed.get_rank()])


class _Gather(torch.autograd.Function):
    """Rows of all processes, ``(N_0, D), (N_1, D)...`` to ``(N_0 + N_1 + ..., D)``."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, lengths: Sequence[int]) -> Tensor:
        padded = F.pad(rows, (0, 0, 0, max(lengths) - len(rows))).contiguous()
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
