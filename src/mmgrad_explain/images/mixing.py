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
        image: (H, W, 3).
        heat: (h, w) in [0, 1], on any grid.
        table: (256, 4), for each level of heat: what is added to red, green and blue, and the share that is kept.
    """
    height, width = image.shape[:2]
    full = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    uniform = bool((table[:, 3] == table[0, 3]).all())
    packed = np.ascontiguousarray(table).view(np.int32)[:, 0]  # one look-up for each pixel
    result = np.empty_like(image)
    levels, one = np.empty((2, _ROWS, width), np.uint8)
    found = np.empty((_ROWS, width), np.int32)
    kept, added = np.empty((2, _ROWS, width, 3), np.uint8)
    for start in range(0, height, _ROWS):
        rows = slice(start, start + _ROWS)
        here = slice(0, min(_ROWS, height - start))
        cv2.convertScaleAbs(full[rows], levels[here], alpha=255)
        cv2.LUT(levels[here], packed, found[here])
        colors = found[here].view(np.uint8).reshape(-1, width, 4)
        cv2.cvtColor(colors, cv2.COLOR_RGBA2RGB, added[here])
        if uniform:
            cv2.addWeighted(image[rows], table[0, 3] / 255, added[here], 1, 0, result[rows])
            continue
        cv2.cvtColor(cv2.extractChannel(colors, 3, one[here]), cv2.COLOR_GRAY2RGB, kept[here])
        cv2.multiply(image[rows], kept[here], kept[here], scale=1 / 255)
        cv2.add(kept[here], added[here], result[rows])
    return result
