"""Small pictures of cases: the image with the outline of its region, and each map on it; the worst cases are kept."""

from __future__ import annotations

import heapq
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mmgrad_explain.images.contours import contour
from mmgrad_explain.images.overlay import blend
from mmgrad_explain.images.tiles import fit_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

SIDE = 224
"""The longer side of a small picture, in pixels."""


@dataclass(frozen=True)
class CasePicture:
    """JPEG files of one case.

    Attributes:
        width: Of each, in pixels.
        height: Of each, in pixels.
        image: The image, with the outline of its region.
        maps: Method to the map on the image, with the same outline.
    """

    width: int
    height: int
    image: bytes
    maps: dict[str, bytes]


def draw_case(
    image: Image.Image, mask: npt.NDArray[np.bool_], heats: Mapping[str, npt.NDArray[np.float32]]
) -> CasePicture:
    """Draw a case.

    Args:
        image: The image that the maps are judged on.
        mask: Its region, (H, W) bool.
        heats: Method to its map, (H, W), at least 0.
    """
    size = fit_size(image, SIDE, SIDE)
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    region = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)) / 255.0
    maps = {}
    for name, heat in heats.items():
        peak = float(heat.max())
        scaled = np.clip(heat / peak, 0, 1) if peak > 0 else np.zeros_like(heat)
        shrunk = Image.fromarray(np.asarray(scaled, np.float32)).resize(size, Image.Resampling.BILINEAR)
        maps[name] = _jpeg(contour(blend(small, np.clip(np.asarray(shrunk), 0, 1), alpha=0.65), region, width=1.5))
    return CasePicture(*size, _jpeg(contour(small, region, width=1.5)), maps)


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=80)
    return stream.getvalue()


class WorstCases:
    """Keeps the pictures of the worst cases.

    Args:
        count: How many at most.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._kept: list[tuple[float, int, CasePicture]] = []

    def wants(self, goodness: float) -> bool:
        """Return whether a case is among the worst so far, so that it is worth drawing."""
        return len(self._kept) < self.count or (self.count > 0 and -goodness > self._kept[0][0])

    def add(self, number: int, goodness: float, picture: CasePicture) -> None:
        """Keep a case, in the place of the best one that is kept.

        Args:
            number: Of the sample.
            goodness: How good its maps are; low is bad.
            picture: The case.
        """
        entry = (-goodness, -number, picture)
        if len(self._kept) < self.count:
            heapq.heappush(self._kept, entry)
        elif self.wants(goodness):
            heapq.heapreplace(self._kept, entry)

    def pictures(self) -> dict[int, CasePicture]:
        """Return the pictures by the number of their sample, the worst first."""
        return {-number: picture for _, number, picture in sorted(self._kept, key=lambda e: (e[0], e[1]), reverse=True)}
