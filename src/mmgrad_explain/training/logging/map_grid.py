"""A picture of how a model's maps change during training: a row a sample, a column a step."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mmgrad_explain._system.files import atomic_file
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.overlay import blend
from mmgrad_explain.images.panels import panel
from mmgrad_explain.images.saving import safe_save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

_COLUMNS = 10  # steps that are drawn at most
_HEIGHT = 160  # of a tile, pixels


class MapGrid:
    """Maps of a few fixed samples over time.

    Args:
        pictures: The samples' pictures, ``(n, H, W, 3)`` uint8.
        captions: What each is asked for.
        masks: Where each map should lie, ``(H, W)`` bool; None where it is not known.
    """

    def __init__(
        self,
        pictures: npt.NDArray[np.uint8],
        captions: Sequence[str],
        masks: Sequence[npt.NDArray[np.bool_] | None] | None = None,
    ) -> None:
        self.pictures = pictures
        self.captions = list(captions)
        self.masks = [None] * len(self.captions) if masks is None else list(masks)
        self.steps: list[int] = []
        self._maps: list[npt.NDArray[np.float32]] = []

    def add(self, step: int, maps: npt.NDArray[np.float32]) -> None:
        """Add a column; ``maps`` is ``(n, h, w)``, not negative."""
        self.steps.append(step)
        peaks = maps.max((1, 2), keepdims=True)
        self._maps.append(np.asarray(maps / np.where(peaks > 0, peaks, 1), np.float32))

    @property
    def latest(self) -> npt.NDArray[np.float32] | None:
        """The maps of the last column, ``(n, h, w)``, each from 0 to 1; None where there is none yet."""
        return self._maps[-1] if self._maps else None

    def draw(self) -> Image.Image:
        """The grid, RGB: the picture with its text, then its map at each step; with many steps evenly some of them."""
        count = len(self.steps)
        shown = sorted({round(i) for i in np.linspace(0, count - 1, min(count, _COLUMNS))}) if count else []
        rows = []
        for index, (picture, caption) in enumerate(zip(self.pictures, self.captions, strict=True)):
            tiles = [blend(picture, self._maps[column][index], alpha=0.7) for column in shown]
            steps = [f"step {self.steps[column]}" for column in shown]
            rows.append(panel([picture, *tiles], [caption, *steps], height=_HEIGHT))
        grid = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
        top = 0
        for row in rows:
            grid.paste(row, (0, top))
            top += row.height
        return grid

    def save(self, picture: Path, arrays: Path) -> None:
        """Write the grid as a PNG, and the maps themselves to go on from; each file is whole or not there."""
        safe_save(self.draw(), picture, overwrite=True)
        stream = io.BytesIO()
        np.savez(stream, steps=np.array(self.steps), maps=np.stack(self._maps))
        with atomic_file(arrays, overwrite=True) as file:
            file.write(stream.getvalue())

    def load(self, arrays: Path, until: int) -> None:
        """Read the maps of the steps up to ``until`` that :meth:`save` wrote; nothing where there is no such file.

        Raises:
            InputError: If the file is damaged.
        """
        if not arrays.exists():
            return
        try:
            with np.load(arrays) as found:
                steps, maps = found["steps"].tolist(), found["maps"]
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InputError(f"{arrays} cannot be read: {error}") from error
        for step, one in zip(steps, maps, strict=True):
            if step <= until:
                self.add(int(step), one)
