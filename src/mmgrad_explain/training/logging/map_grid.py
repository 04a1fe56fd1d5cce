"""A drawing of a model's maps during training: one row a sample, one column a step."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Self

import numpy as np
from PIL import Image

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain._system.user_files import reading
from mmgrad_explain.data.batches.batch import MARKED
from mmgrad_explain.data.edit_sides import is_on_target_only
from mmgrad_explain.images.overlay import blend
from mmgrad_explain.images.panels import panel
from mmgrad_explain.images.saving import safe_save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from mmgrad_explain.data.batches.batch import ImageBatch

_COLUMNS = 10  # largest number of steps in the drawing
_HEIGHT = 160  # of a tile, pixels


class MapGrid:
    """Maps of a few fixed samples over time.

    Args:
        images: The samples' images, ``(n, H, W, 3)`` uint8.
        captions: The texts of the samples.
        masks: Where each map should be bright, ``(H, W)`` bool; None if that is not known.
        rows: Indices of the samples in the batch that they come from.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        captions: Sequence[str],
        masks: Sequence[npt.NDArray[np.bool_] | None] | None = None,
        rows: Sequence[int] = (),
    ) -> None:
        self.images = images
        self.captions = list(captions)
        self.masks = [None] * len(self.captions) if masks is None else list(masks)
        self.rows = list(rows)
        self.steps: list[int] = []
        self._maps: list[npt.NDArray[np.float32]] = []

    @classmethod
    def of_batch(cls, batch: ImageBatch, count: int) -> Self:
        """Choose up to ``count`` triplets of a batch, two of each reference, so that two texts can be compared.

        The map of an ``add`` is shown on the target, all others on the reference.
        """
        rows = choose_rows(batch.picture.tolist(), count)
        on_target = [is_on_target_only(batch.edits[row]) for row in rows]
        images = [
            batch.targets[row] if target else batch.references[batch.picture[row]]
            for row, target in zip(rows, on_target, strict=True)
        ]
        masks = [
            (batch.target_masks if target else batch.reference_masks)[row] >= MARKED if batch.supervised[row] else None
            for row, target in zip(rows, on_target, strict=True)
        ]
        return cls(np.stack(images), [batch.texts[row] for row in rows], masks, rows)

    def add(self, step: int, maps: npt.NDArray[np.float32]) -> None:
        """Add a column of maps ``(n, h, w)`` without negative values; each is divided by its maximum."""
        self.steps.append(step)
        peaks = maps.max((1, 2), keepdims=True)
        self._maps.append(np.asarray(maps / np.where(peaks > 0, peaks, 1), np.float32))

    @property
    def latest(self) -> npt.NDArray[np.float32] | None:
        """The maps of the last column, ``(n, h, w)`` in [0, 1]; None if there is no column yet."""
        return self._maps[-1] if self._maps else None

    def draw(self) -> Image.Image:
        """Draw the grid, RGB: each image with its text, then its maps; of many steps, evenly spaced ones."""
        count = len(self.steps)
        shown = sorted({round(i) for i in np.linspace(0, count - 1, min(count, _COLUMNS))}) if count else []
        rows = []
        for index, (image, caption) in enumerate(zip(self.images, self.captions, strict=True)):
            tiles = [blend(image, self._maps[column][index], alpha=0.7) for column in shown]
            steps = [f"step {self.steps[column]}" for column in shown]
            rows.append(panel([image, *tiles], [caption, *steps], height=_HEIGHT))
        grid = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
        top = 0
        for row in rows:
            grid.paste(row, (0, top))
            top += row.height
        return grid

    def save(self, picture: Path, arrays: Path) -> None:
        """Write the grid as a PNG, and the maps as arrays to resume from; each file is written whole or not at all."""
        safe_save(self.draw(), picture, overwrite=True)
        stream = io.BytesIO()
        np.savez(stream, steps=np.array(self.steps), maps=np.stack(self._maps))
        with atomic_file(arrays, overwrite=True) as file:
            file.write(stream.getvalue())

    def load(self, arrays: Path, until: int) -> None:
        """Read the maps that :meth:`save` wrote, up to the step ``until``; do nothing if there is no such file.

        Raises:
            InputError: If the file is damaged.
        """
        if not arrays.exists():
            return
        with reading(f"{arrays} cannot be read"), np.load(arrays) as found:
            steps, maps = found["steps"].tolist(), found["maps"]
        for step, one in zip(steps, maps, strict=True):
            if step <= until:
                self.add(int(step), one)


def choose_rows(references: Sequence[int], count: int) -> list[int]:
    """Choose up to ``count`` triplets, at most two of each reference.

    Args:
        references: The reference of each triplet, by number.
        count: Largest number of triplets.
    """
    rows = [i for i in range(len(references)) if references[:i].count(references[i]) < 2]
    return rows[:count]
