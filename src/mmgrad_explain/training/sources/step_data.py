"""The batches of a run, divided among the processes and micro-batches of each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from mmgrad_explain.data.batches.batch import encode_batch, take_images
from mmgrad_explain.errors import InputError
from mmgrad_explain.training.sources.mixture import Mixture

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmgrad_explain.composers.contract import TrainingProcessor
    from mmgrad_explain.data.batches.batch import ImageBatch
    from mmgrad_explain.training.sources.source import Source


@dataclass(frozen=True)
class Division:
    """How the batch of a step is divided, by its reference images.

    Micro-batch ``m`` has every ``micro_batches``-th reference from number ``m`` on; each process takes an equal
    consecutive part of it.

    Attributes:
        processes: Number of processes that share the batch.
        rank: Number of this process.
        micro_batches: Number of micro-batches in a step of the optimizer.
    """

    processes: int = 1
    rank: int = 0
    micro_batches: int = 1

    @property
    def parts(self) -> int:
        """Number of parts of a step's batch."""
        return self.processes * self.micro_batches

    def own_references(self, count: int, micro_batch: int) -> npt.NDArray[np.int64]:
        """Return the numbers of this process's references in a micro-batch, out of ``count`` in the batch.

        Raises:
            InputError: If they cannot be divided evenly.
        """
        if count % self.parts:
            shared = f"{self.processes} processes with gradient_accumulation_steps={self.micro_batches}"
            raise InputError(
                f"the batch of a step has {count} pictures, which {shared} cannot share evenly: set the sources' "
                f"pictures to a multiple of {self.parts}"
            )
        return np.split(np.arange(micro_batch, count, self.micro_batches), self.processes)[self.rank]

    def check(self, source: Source, seed: int) -> None:
        """Check, before training, that the batches of a source can be divided.

        Raises:
            InputError: If they cannot be divided evenly.
        """
        if self.parts > 1:
            every = source.sources.values() if isinstance(source, Mixture) and source.mix == "step" else [source]
            for one in every:
                self.own_references(len(one.batch(seed, 0).references), 0)


class StepDataset(Dataset):  # type: ignore[type-arg]
    """The batches of a run: item ``i`` is this process's part of micro-batch ``i % n`` of step ``i // n``.

    Args:
        source: The source of the batches.
        encoder: Makes tensors of images and texts; a composer's processor.
        seed: Seed of the source.
        steps: Number of steps.
        division: How a step's batch is divided, ``n`` micro-batches; by default each item is the batch of a step.
    """

    def __init__(
        self, source: Source, encoder: TrainingProcessor, seed: int, steps: int, division: Division | None = None
    ) -> None:
        self.source = source
        self.encoder = encoder
        self.seed = seed
        self.steps = steps
        self.division = division or Division()
        self._latest: tuple[int, ImageBatch] | None = None

    def __len__(self) -> int:
        """Number of micro-batches."""
        return self.steps * self.division.micro_batches

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Return a part of a step's batch, and the number of the step."""
        step, micro_batch = divmod(item, self.division.micro_batches)
        batch = self._batch(step)
        if self.division.parts > 1:
            batch = take_images(batch, self.division.own_references(len(batch.references), micro_batch))
        return {"batch": encode_batch(batch, self.encoder), "step": torch.tensor(step)}

    def _batch(self, step: int) -> ImageBatch:
        """Return the whole batch of a step; with micro-batches it is kept for the next one."""
        if self._latest is not None and self._latest[0] == step:
            return self._latest[1]
        batch = self.source.batch(self.seed, step)
        self._latest = (step, batch) if self.division.micro_batches > 1 else None
        return batch
