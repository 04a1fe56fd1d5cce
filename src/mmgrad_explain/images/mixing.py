"""Blend colours with an image by OpenCV, fast on one core: most of the time goes to memory, not to arithmetic."""

from typing import Any

import numpy as np
import numpy.typing as npt

_ROWS = 32  # per block: intermediate results then stay in the cache


def mix(
    cv2: Any, image: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32], table: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Compute ``image * kept[heat] + added[heat]`` by OpenCV, in blocks of rows that stay in the processor's cache.

    Args:
        cv2: The library.
        image: (H, W, 3) uint8, RGB.
        heat: (h, w) float32 in [0, 1], on any grid that evenly covers the image.
        table: (256, 4) uint8, for each level of heat: what is added to red, green and blue, and the share of the image
            that is kept, in 255ths.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    height, width = image.shape[:2]
    full = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    uniform = bool((table[:, 3] == table[0, 3]).all())
    packed = np.ascontiguousarray(table).view(np.int32)[:, 0]  # one look-up for each pixel
    result = np.empty_like(image)
    levels, share = np.empty((2, _ROWS, width), np.uint8)
    packed_colors = np.empty((_ROWS, width), np.int32)
    kept, added = np.empty((2, _ROWS, width, 3), np.uint8)
    for start in range(0, height, _ROWS):
        rows = slice(start, start + _ROWS)
        here = slice(0, min(_ROWS, height - start))
        cv2.convertScaleAbs(full[rows], levels[here], alpha=255)
        cv2.LUT(levels[here], packed, packed_colors[here])
        colors = packed_colors[here].view(np.uint8).reshape(-1, width, 4)
        cv2.cvtColor(colors, cv2.COLOR_RGBA2RGB, added[here])
        if uniform:
            cv2.addWeighted(image[rows], table[0, 3] / 255, added[here], 1, 0, result[rows])
            continue
        cv2.cvtColor(cv2.extractChannel(colors, 3, share[here]), cv2.COLOR_GRAY2RGB, kept[here])
        cv2.multiply(image[rows], kept[here], kept[here], scale=1 / 255)
        cv2.add(kept[here], added[here], result[rows])
    return result
