"""Where figures and pictures of a training run are logged: TensorBoard, Weights & Biases, or anything like them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from mmgrad_explain.training.optional_packages import need

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image

STEP = "train/global_step"
"""What W&B's curves run over; transformers' own callback for it takes the same name."""

GROUPS = ("train", "eval", "grounding", "retrieval", "maps")


@runtime_checkable
class Board(Protocol):
    """Anything that figures and pictures can be logged to."""

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Take figures of a step, by name."""

    def log_images(self, images: Mapping[str, tuple[Image.Image, str]], step: int) -> None:
        """Take pictures of a step, each with its caption, by name."""


class TensorBoard:
    """Writes for TensorBoard.

    Args:
        place: A folder, in which a writer is opened when something is logged; or a ``SummaryWriter``, which stays open.
        begun: The step that a run goes on from: what the folder holds of later steps is not shown any more. 0 for a new
            run.

    Raises:
        InputError: If a folder is named and tensorboard is not installed.
    """

    def __init__(self, place: Any, begun: int = 0) -> None:
        self.folder = Path(place).expanduser() if isinstance(place, str | os.PathLike) else None
        self.begun = begun
        self._writer = None if self.folder is not None else place
        if self.folder is not None:
            need("tensorboard", f"logging to {self.folder}")

    @property
    def writer(self) -> Any:
        """The ``SummaryWriter``."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=self.begun + 1 if self.begun else None)
            self.begun = 0
        return self._writer

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Write a point of each curve."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def log_images(self, images: Mapping[str, tuple[Image.Image, str]], step: int) -> None:
        """Write the pictures; TensorBoard has no captions beside them."""
        for name, (picture, _) in images.items():
            self.writer.add_image(name, np.asarray(picture), step, dataformats="HWC")
        self.writer.flush()

    def close(self, *, failed: bool = False) -> None:  # noqa: ARG002  (TensorBoard knows no failure)
        """Close the writer, where this opened it; logging again opens another."""
        if self.folder is not None and self._writer is not None:
            self._writer.close()
            self._writer = None


class WeightsAndBiases:
    """Logs to a run of Weights & Biases, over a step of its own: the run's owner may log as often as he likes.

    Args:
        run: The run, which stays open; or what starts one when something is logged, and it is finished by ``close``.
    """

    def __init__(self, run: Any) -> None:
        self._start: Callable[[], Any] | None = None if hasattr(run, "define_metric") else run
        self._run = None if self._start else run
        self._ready = False

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Log a point of each curve."""
        self._log(dict(figures), step)

    def log_images(self, images: Mapping[str, tuple[Image.Image, str]], step: int) -> None:
        """Log the pictures with their captions."""
        import wandb

        self._log({name: wandb.Image(one, caption=caption) for name, (one, caption) in images.items()}, step)

    def _log(self, values: dict[str, Any], step: int) -> None:
        if self._run is None and self._start is not None:
            self._run = self._start()
        run: Any = self._run
        if not self._ready:
            run.define_metric(STEP)
            for group in GROUPS:
                run.define_metric(f"{group}/*", step_metric=STEP)
            self._ready = True
        run.log({**values, STEP: step})

    def close(self, *, failed: bool = False) -> None:
        """Finish the run, where this started it."""
        if self._start is not None and self._run is not None:
            self._run.finish(exit_code=int(failed))
            self._run, self._ready = None, False


def board_of(place: Any) -> Board:
    """What logs to a place.

    Args:
        place: A folder, for TensorBoard; a ``SummaryWriter``; a run of Weights & Biases; or a :class:`Board`.

    Raises:
        InputError: If a folder is named and tensorboard is not installed.
        TypeError: If it is none of these.
    """
    if isinstance(place, str | os.PathLike) or (hasattr(place, "add_image") and hasattr(place, "add_scalar")):
        return TensorBoard(place)
    if isinstance(place, Board):
        return place
    if hasattr(place, "define_metric") and hasattr(place, "log"):
        return WeightsAndBiases(place)
    raise TypeError(
        "maps are logged to a folder, a SummaryWriter, a run of Weights & Biases, or an object with log_figures and "
        f"log_images, not to {type(place).__name__}"
    )
