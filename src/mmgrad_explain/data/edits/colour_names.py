"""Name the colours of an object by its pixels, whatever the shade.

Every pixel gets the colour word of its hue, or black, gray or white where it has little colour; how much is little
depends on its lightness. Shadows and highlights of a red dress are red. An object *has* a colour if most of its pixels
do, and has it *not* if few do; between the two nobody can say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmgrad_explain.data.edits.colours import COLOURS, rgb_to_lab

if TYPE_CHECKING:
    import numpy.typing as npt

COLOUR_WORDS = tuple(COLOURS)
"""The colours that objects are named by, in the order of the numbers here."""

MOST, FEW = 0.55, 0.12
"""Shares of the pixels from which on an object has a colour, and below which it has not."""
_SOLID = 12  # pixels inside an edge of one pixel that are enough to leave the edge out
_LARGEST = 20_000  # pixels that are looked at

# Hue angles in the plane of a and b, degrees, where a word begins. Brown and pink are told by lightness as well.
_HUES = ((-12.0, "red"), (44.0, "orange"), (72.0, "yellow"), (106.0, "green"), (196.0, "blue"), (304.0, "purple"))
_PINK = (325.0, 405.0)


def measure_colour_shares(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Measure how much of an object each colour word names.

    Args:
        image: (H, W, 3), RGB.
        mask: (H, W), the object.

    Returns:
        (11,) in the order of :data:`COLOUR_WORDS`; the sum is below 1 where pixels have no name (beige).
        Zeros for an empty mask.
    """
    import cv2

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros(len(COLOUR_WORDS))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inside = cv2.erode(mask[window].astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
    chosen = inside if inside.sum() >= _SOLID else mask[window]
    pixels = image[window][chosen]
    pixels = pixels[:: -(-len(pixels) // _LARGEST)]
    named = name_pixels(rgb_to_lab(pixels[None])[0])
    return np.bincount(named[named >= 0], minlength=len(COLOUR_WORDS)) / len(named)


def name_cells(images: npt.NDArray[np.uint8], cell: int = 4) -> npt.NDArray[np.uint8]:
    """Make label maps that name the mean colour of each square cell of images.

    Args:
        images: ``(N, H, W, 3)``, RGB.
        cell: Side of a cell, pixels.

    Returns:
        ``(N, H, W)``: 0 where no word fits, else 1 + the number of the word in :data:`COLOUR_WORDS`.
    """
    import cv2

    height, width = images.shape[1:3]
    size = (max(1, width // cell), max(1, height // cell))
    small = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images])
    named = name_pixels(rgb_to_lab(small.reshape(1, -1, 3))[0]).reshape(len(images), size[1], size[0])
    return np.stack(
        [cv2.resize(one, (width, height), interpolation=cv2.INTER_NEAREST) for one in (named + 1).astype(np.uint8)]
    )


def name_pixels(lab: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the number of each pixel's colour word; -1 where no word fits.

    Args:
        lab: (n, 3), CIE units.
    """
    light, a, b = lab.T
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a))
    number = {word: i for i, word in enumerate(COLOUR_WORDS)}
    named = np.full(len(lab), -1, np.int64)
    for (start, word), (end, _) in zip(_HUES, (*_HUES[1:], (_HUES[0][0] + 360, "")), strict=True):
        named[(hue - start) % 360 < end - start] = number[word]
    named[(chroma > 55) & (np.abs((hue % 360) - 304) < 4)] = number["blue"]  # a pure blue has a hue of 306
    warm = (hue > 20) & (hue < 95)
    named[warm & (hue < 80) & (light < np.where(hue < 44, 30, 56)) & (chroma < np.where(hue < 44, 34, 50))] = number[
        "brown"
    ]
    dull = (hue >= 80) & (hue < 118) & (light < 64) & (chroma < 46)
    named[dull] = np.where(hue[dull] < 96, -1, number["green"])  # olive
    rosy = (hue - _PINK[0]) % 360 < _PINK[1] - _PINK[0]
    named[rosy & (light > 54) & (chroma < 62)] = number["pink"]
    pale = (light >= 56) & (chroma < np.where(warm, 30, 22)) & (hue > 20) & (hue < 114)
    named[pale] = -1  # beige, skin
    # A dark pixel shows its hue at less chroma than a light one; warm light makes grays yellowish.
    little = np.where(light < 25, 7.0, 9.5) + np.where(warm, 3.5, 0)
    gray = chroma < little
    named[gray] = number["gray"]
    named[gray & (light < 30)] = number["black"]
    named[gray & (light > 74)] = number["white"]
    named[light < 11] = number["black"]
    return named


def judge_colours(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int8]:
    """Return of each colour whether an object has it: 1, 0, or -1 where that cannot be said.

    Args:
        shares: (..., 11), from :func:`measure_colour_shares`.
    """
    judged = np.full(shares.shape, -1, np.int8)
    judged[shares >= MOST] = 1
    judged[shares <= FEW] = 0
    return judged
