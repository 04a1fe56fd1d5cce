"""Boards that figures and images of a training run are logged to: TensorBoard, Weights & Biases, or your own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from mmgrad_explain.training.figures import GROUPS
from mmgrad_explain.training.package_checks import require_package

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image

STEP = "train/global_step"
"""The x-axis of the curves on Weights & Biases, by the name that transformers' own callback uses."""


@runtime_checkable
class Board(Protocol):
    """Anything that figures and images can be logged to."""

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Log figures of a step, by name."""

    def log_images(self, images: Mapping[str, tuple[Image.Image, str]], step: int) -> None:
        """Log images of a step, each with its caption, by name."""


class TensorBoard:
    """Writes event files of TensorBoard.

    Args:
        place: A folder, in which a writer is opened at the first log; or a ``SummaryWriter``, which stays open.
        begun: The step that a run is resumed from: TensorBoard hides what the folder holds of later steps. 0 for a new
            run.

    Raises:
        InputError: If ``place`` is a folder and tensorboard is not installed.
    """

    def __init__(self, place: Any, begun: int = 0) -> None:
        self.folder = Path(place).expanduser() if isinstance(place, str | os.PathLike) else None
        self.begun = begun
        self._writer = None if self.folder is not None else place
        if self.folder is not None:
            require_package("tensorboard", f"logging to {self.folder}")

    @property
    def writer(self) -> Any:
        """The ``SummaryWriter``."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=self.begun + 1 if self.begun else None)
            self.begun = 0
        return self._writer

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Add a point to each curve."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def log_images(self, images: Mapping[str, tuple[Image.Image, str]], step: int) -> None:
        """Write the images; TensorBoard shows no captions."""
        for name, (image, _) in images.items():
            self.writer.add_image(name, np.asarray(image), step, dataformats="HWC")
        self.writer.flush()

    def close(self, *, failed: bool = False) -> None:  # noqa: ARG002  (TensorBoard does not record failures)
        """Close the writer if this opened it; the next log opens another."""
        if self.folder is not None and self._writer is not None:
            self._writer.close()
            self._writer = None


class WeightsAndBiases:
    """Logs to a run of Weights & Biases with a step counter of its own, so that others may log to the run as well.

    Args:
        run: The run, which stays open; or a function that starts one at the first log; ``close`` finishes that one.
    """

    def __init__(self, run: Any) -> None:
        self._start: Callable[[], Any] | None = None if hasattr(run, "define_metric") else run
        self._run = None if self._start else run
        self._ready = False

    def log_figures(self, figures: Mapping[str, float], step: int) -> None:
        """Add a point to each curve."""
        self._log(dict(figures), step)

    def log_images(self, images: Mapping[str, tuple[Image.Image, str]], step: int) -> None:
        """Log the images with their captions."""
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
        """Finish the run if this started it."""
        if self._start is not None and self._run is not None:
            self._run.finish(exit_code=int(failed))
            self._run, self._ready = None, False


def board_of(place: Any) -> Board:
    """Return the board for a place.

    Args:
        place: A folder, for TensorBoard; a ``SummaryWriter``; a run of Weights & Biases; or a :class:`Board`.

    Raises:
        InputError: If the place is a folder and tensorboard is not installed.
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
