"""Colormaps: eight as tables, others from matplotlib."""

import difflib
import functools
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mmgrad_explain.errors import InputError

Pixels: TypeAlias = npt.NDArray[np.uint8]

_ANCHORS = {  # 33 evenly spaced colours each
    "turbo": (
        "30123b 392a73 4040a1 4456c7 466be3 467ff6 4293ff 37a7fa 29bbec 1dcdd8 18dcc3 1ee8b0 31f299 4cf97e 6bfd64 "
        "8aff4d a3fd3c b8f735 cced34 dee037 edd03a f8c03a fdae35 fe982c fb8022 f56817 ec520f e04009 d23105 c02302 "
        "ac1701 950d01 7a0403"
    ),
    "viridis": (
        "440154 470d60 48186a 482374 472d7b 453681 424086 3f4989 3b528b 375a8d 33638d 2f6a8e 2c728e 297a8e 26818e "
        "23898e 21908c 1f988b 1f9f88 21a685 28ae80 31b57b 3ebc74 4cc26c 5dc963 6ece58 82d34c 96d83f abdc32 c0df24 "
        "d5e21a eae51a fde725"
    ),
    "magma": (
        "000004 030311 0a0822 130d33 1d1146 28115a 36106a 430f76 50127c 5d177f 691c81 762181 822681 8f2a81 9c2e7f "
        "a9327d b63779 c33b75 cf4170 db486a e65163 ee5c5e f5695c f9785d fb8761 fd9668 fea571 feb47b fec387 fed194 "
        "fde0a2 fceeb0 fcfdbf"
    ),
    "inferno": (
        "000004 040312 0b0724 150b37 210c4a 2e0a5a 3c0965 4a0c6b 57106d 63146e 70196e 7d1e6d 89226a 962766 a32b61 "
        "af315c bb3755 c63e4d d14644 db4f3b e35932 eb6528 f1711e f67f14 f98d0a fb9c06 fcab0f fbba1f f9ca32 f5d949 "
        "f2e865 f3f586 fcffa4"
    ),
    "plasma": (
        "0d0887 220690 310596 3f049c 4c02a1 5901a5 6600a7 7201a8 7e03a8 8909a6 9511a2 9f1a9c a92396 b22c8e bb3587 "
        "c33e80 cb4778 d25071 d9596a e06263 e66c5c eb7555 f07f4f f48a48 f89441 fb9f3a fdab33 feb72d fdc328 fcd025 "
        "f9dd25 f5eb27 f0f921"
    ),
}
_RAMPS = {  # for red, green and blue: where the straight pieces meet, and the values there
    "gray": 3 * (((0.0, 1.0), (0.0, 1.0)),),
    "hot": (((0.0, 0.365), (0.042, 1.0)), ((0.365, 0.746), (0.0, 1.0)), ((0.746, 1.0), (0.0, 1.0))),
    "jet": (
        ((0.35, 0.66, 0.89, 1.0), (0.0, 1.0, 1.0, 0.5)),
        ((0.125, 0.375, 0.64, 0.91), (0.0, 1.0, 1.0, 0.0)),
        ((0.0, 0.11, 0.34, 0.65), (0.5, 1.0, 1.0, 0.0)),
    ),
}

COLORMAPS = (*_ANCHORS, *_RAMPS)
"""Names of the colormaps that need no matplotlib."""


@functools.lru_cache(maxsize=32)
def color_table(colormap: str) -> Pixels:
    """Return the 256 colours of a colormap.

    Args:
        colormap: One of :data:`COLORMAPS`, or a name that matplotlib knows.

    Returns:
        (256, 3) uint8, RGB, read-only.

    Raises:
        InputError: The name is unknown.
    """
    steps = np.linspace(0, 1, 256)
    if colormap in _ANCHORS:
        anchors = np.frombuffer(bytes.fromhex(_ANCHORS[colormap]), np.uint8).reshape(-1, 3) / 255
        curves = [(np.linspace(0, 1, len(anchors)), anchors[:, channel]) for channel in range(3)]
        colors = np.stack([np.interp(steps, *curve) for curve in curves], axis=1)
    elif colormap in _RAMPS:
        colors = np.stack([np.interp(steps, *curve) for curve in _RAMPS[colormap]], axis=1)
    else:
        colors = _matplotlib_colors(colormap)
    table = np.rint(colors * 255).astype(np.uint8)
    table.flags.writeable = False
    return table


def _matplotlib_colors(colormap: str) -> npt.NDArray[np.float64]:
    known = list(COLORMAPS)
    try:
        import matplotlib as mpl

        if colormap in mpl.colormaps:
            return np.asarray(mpl.colormaps[colormap](np.linspace(0, 1, 256))[:, :3])
        names = [*known, *mpl.colormaps]
    except ImportError:
        names = known
    near = difflib.get_close_matches(str(colormap), names) or known
    raise InputError(f"unknown colormap {colormap!r}: try {', '.join(dict.fromkeys(near))}")
