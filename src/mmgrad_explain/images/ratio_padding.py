"""Padding of long images towards a ratio of their sides, before a processor resizes and crops them.

A centre crop cuts off the ends of a long image. Black bars along its long sides lower the ratio, so that less is cut
off. Source: the preprocessing ``targetpad`` in the public code of Baldrati et al., CLIP4Cir (CVPR Workshops 2022), with
a ratio of 1.25; SEARLE (arXiv 2303.15247) and SPRC (arXiv 2310.05473) use it too.
"""

from __future__ import annotations

from PIL import Image

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement

TARGET_RATIO = 1.25
"""Of the longer to the shorter side, as published."""


def check_ratio(ratio: float) -> None:
    """Check a ratio of the longer to the shorter side.

    Raises:
        InputError: It is no number, or below 1.
    """
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 1 <= ratio < float("inf"):
        raise InputError(f"pad_ratio is the ratio of the longer to the shorter side, at least 1, not {ratio!r}")


def bars(size: tuple[int, int], ratio: float) -> tuple[int, int]:
    """Return the width of the bars, in pixels: above and below, and to the left and right.

    An image with a lower ratio gets none. The short side of any other grows to ``long side / ratio``: half of the
    difference on either side, rounded down.

    Args:
        size: Height and width of the image, in pixels.
        ratio: Of the longer to the shorter side.
    """
    if max(size) / min(size) < ratio:
        return 0, 0
    wanted = max(size) / ratio
    rows, columns = (max(0, int((wanted - side) / 2)) for side in size)
    return rows, columns


def pad_to_ratio(image: Image.Image, ratio: float) -> Image.Image:
    """Put black bars along the long sides of an RGB image; one that is not too long comes back as it is."""
    rows, columns = bars((image.height, image.width), ratio)
    if not rows and not columns:
        return image
    padded = Image.new(image.mode, (image.width + 2 * columns, image.height + 2 * rows))
    padded.paste(image, (columns, rows))
    return padded


def place_padded(original: tuple[int, int], ratio: float, padded: Placement) -> Placement:
    """Return the placement of an image from that of the same with bars.

    The bars are no part of the image: nothing of them is in :meth:`Placement.to_original`, and they count as padding in
    :meth:`Placement.to_input`.

    Args:
        original: Height and width of the image without bars, in pixels.
        ratio: Of the padding.
        padded: Placement of the image that :func:`pad_to_ratio` gives.

    Raises:
        InputError: ``padded`` is of an image of another size.
    """
    around = bars(original, ratio)
    rows, columns = (side + 2 * bar for side, bar in zip(original, around, strict=True))
    if padded.original != (rows, columns):
        raise InputError(
            f"an image of {original[0]} x {original[1]} pixels is {rows} x {columns} when it is padded to a ratio of "
            f"{ratio}, and the placement is of one of {padded.original[0]} x {padded.original[1]}"
        )
    offset = tuple(start + bar * scale for start, bar, scale in zip(padded.offset, around, padded.scale, strict=True))
    window = padded.window
    if window is not None:
        ends = [
            (max(0.0, low - bar), min(float(side), high - bar))
            for (low, high), bar, side in zip(window, around, original, strict=True)
        ]
        window = ends[0], ends[1]
    return Placement(original, padded.input, padded.scale, (offset[0], offset[1]), window)
