"""Heat on photographs, for people to look at.

:func:`colorize` gives heat its colours, :func:`blend` lays them on a picture, :func:`contour` draws outlines, and
:func:`panel` sets pictures side by side with their captions. Pictures and heat may be arrays, tensors or PIL images,
each in its own resolution; heat is in [0, 1]. OpenCV makes blending quick where it is installed, and is not needed.
"""

import bisect
import difflib
import functools
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.mixing import mix
from mmgrad_explain.images.placement import Placement
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.tiles import WIDEST, fitted, tile_height
from mmgrad_explain.images.values import as_array

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


def _cv2() -> Any:
    """OpenCV, or None where it is missing, half uninstalled, or without the system libraries it wants."""
    try:
        import cv2
    except (ImportError, OSError):
        return None
    return cv2 if hasattr(cv2, "applyColorMap") else None


@functools.lru_cache(maxsize=32)
def _table(colormap: str) -> Pixels:
    """The (256, 3) colours of a colormap, read-only."""
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
    known = [*_ANCHORS, *_RAMPS]
    try:
        import matplotlib as mpl

        if colormap in mpl.colormaps:
            return np.asarray(mpl.colormaps[colormap](np.linspace(0, 1, 256))[:, :3])
        names = [*known, *mpl.colormaps]
    except ImportError:
        names = known
    near = difflib.get_close_matches(str(colormap), names) or known
    raise InputError(f"unknown colormap {colormap!r}: try {', '.join(dict.fromkeys(near))}")


def _picture(image: object) -> Pixels:
    """Any picture as (H, W, 3) uint8; an array that is one already is not copied."""
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return np.ascontiguousarray(image)
    return np.asarray(open_image(image))


def _heat(heat: object, size: tuple[int, int] | None = None) -> npt.NDArray[np.float32]:
    """Any heat as (h, w) float32 in [0, 1], or brought to ``size`` (H, W) bilinearly."""
    array = as_array(heat)
    array = array.reshape(array.shape[-2:]) if array.ndim == 3 and array.shape[0] == 1 else array
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"heat has shape (h, w) and is not empty, not {tuple(array.shape)}")
    values = array.astype(np.float32)
    values *= np.float32(1 / 255 if array.dtype == np.uint8 else 1)
    np.nan_to_num(values, copy=False, nan=0.0)
    low, high = float(values.min()), float(values.max())
    if low < -1e-3 or high > 1.001:
        raise InputError(f"heat must be in [0, 1], not from {low:.4g} to {high:.4g}: divide it by its maximum first")
    np.clip(values, 0, 1, out=values)
    if size is None or size == values.shape:
        return values
    scale = (values.shape[0] / size[0], values.shape[1] / size[1])
    return Placement(size, values.shape, scale, (0.0, 0.0)).to_original(values)


def _levels(heat: npt.NDArray[np.float32]) -> Pixels:
    """Heat as steps of a colormap; ``heat`` is overwritten."""
    heat *= 255
    heat += 0.5
    return heat.astype(np.uint8)


def colorize(heat: object, colormap: str = "turbo") -> Pixels:
    """Give heat its colours.

    Args:
        heat: (h, w) in [0, 1], or uint8 in [0, 255]; NaN counts as 0.
        colormap: turbo, jet, viridis, magma, inferno, plasma, gray or hot, or any other that matplotlib knows.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        InputError: ``heat`` is not in [0, 1] or not a map, or ``colormap`` is unknown.
    """
    return np.asarray(_table(colormap).take(_levels(_heat(heat)), axis=0), np.uint8)


def blend(
    image: object,
    heat: object,
    *,
    alpha: float = 0.5,
    colormap: str = "turbo",
    threshold: float = 0.0,
    fade: bool = True,
) -> Pixels:
    """Lay heat on a picture.

    Args:
        image: The picture, (H, W).
        heat: (h, w) in [0, 1] on any grid that evenly covers the picture; it is resized bilinearly.
        alpha: The colours' opacity where heat is 1, in [0, 1].
        colormap: As in :func:`colorize`.
        threshold: Where heat is below this the picture stays as it is; in [0, 1).
        fade: Let the opacity grow from 0 with the heat, so that cold places show the photograph; when false the
            opacity is ``alpha`` everywhere.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        InputError: ``alpha`` or ``threshold`` is out of range, ``heat`` is not in [0, 1], or ``colormap`` is unknown.
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must be in [0, 1], not {alpha}")
    if not 0 <= threshold < 1:
        raise InputError(f"threshold must be in [0, 1), not {threshold}")
    picture, cv2 = _picture(image), _cv2()
    steps = np.linspace(0, 1, 256)
    above = np.clip((steps - threshold) / (1 - threshold), 0, 1)
    opacity = alpha * (_ramp(above) if fade else (steps >= threshold))
    # Both tables depend on the heat alone: result = picture * kept[heat] + added[heat].
    kept = np.rint(255 * (1 - opacity)).astype(np.uint8)
    added = np.rint(_table(colormap) * opacity[:, None]).astype(np.uint8)
    if cv2 is not None:
        return mix(cv2, picture, _heat(heat), np.column_stack([added, kept]))
    levels = _levels(_heat(heat, picture.shape[:2]))
    mixed = picture * np.take(kept.astype(np.uint16), levels)[..., None]
    mixed += 127
    mixed //= 255
    mixed += np.take(added, levels, axis=0)
    return np.asarray(np.minimum(mixed, 255), np.uint8)


def _ramp(heat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Opacity for heat in [0, 1]: a smooth step that hides faint noise and is complete at 0.6."""
    part = np.minimum(heat / 0.6, 1)
    return np.asarray(part * part * (3 - 2 * part))


def contour(
    image: object,
    heat: object,
    levels: Sequence[float] = (0.5,),
    color: tuple[int, int, int] = (255, 255, 255),
    width: float | None = None,
) -> Pixels:
    """Draw the outlines of where heat exceeds some levels, with a dark rim that keeps them readable on any picture.

    Args:
        image: The picture, (H, W).
        heat: (h, w) in [0, 1] on any grid that evenly covers the picture; it is resized bilinearly.
        levels: The heats to draw outlines at, each in (0, 1).
        color: The lines' colour, RGB in [0, 255].
        width: The lines' width in pixels; by the picture's size when None.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        InputError: ``levels`` is empty, a level or ``width`` is out of range, or ``heat`` is not in [0, 1].
    """
    levels = [float(level) for level in levels]
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"levels must be in (0, 1), not {levels}")
    picture = _picture(image)
    values = _heat(heat, picture.shape[:2])
    width = max(1.0, math.sqrt(min(values.shape)) / 9) if width is None else width
    if not 0 < width <= 100:
        raise InputError(f"width must be in (0, 100] pixels, not {width}")
    distance = _distance(values, levels, math.ceil(width + 1))
    near = np.isfinite(distance)
    distance = distance[near][:, None]
    rim, line = (np.clip(radius + 0.5 - distance, 0, 1) for radius in (width, width / 2))
    drawn = picture[near] * (1 - 0.6 * rim)
    drawn += line * (np.asarray(color, np.float32) - drawn)
    result = picture.copy()
    result[near] = np.rint(drawn)
    return result


def _distance(values: npt.NDArray[np.float32], levels: Sequence[float], reach: int) -> npt.NDArray[np.float64]:
    """How far each pixel is from the nearest outline, in pixels; infinite for more than about ``reach``."""
    points = []  # (y, x), between two neighbours of which one is above a level and one below
    for level in levels:
        above = values >= level
        for axis, step in enumerate(((1, 0), (0, 1))):
            y, x = np.nonzero(np.diff(above, axis=axis))
            here, there = values[y, x], values[y + step[0], x + step[1]]
            part = (level - here) / (there - here)
            points.append((y + part * step[0], x + part * step[1]))
    y, x = (np.concatenate(parts) for parts in zip(*points, strict=True))
    rows, columns = np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)
    distance = np.full((values.shape[0] + 2 * reach, values.shape[1] + 2 * reach), np.inf)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            place = (rows + down + reach) * distance.shape[1] + columns + right + reach
            np.minimum.at(distance.reshape(-1), place, np.hypot(rows + down - y, columns + right - x))
    return distance[reach:-reach, reach:-reach]


def colorbar(colormap: str = "turbo", width: int = 240, labels: tuple[str, str] = ("low", "high")) -> Image.Image:
    """Draw a legend: a strip of the colormap's colours between the two ``labels``.

    Args:
        colormap: As in :func:`colorize`.
        width: Of the whole legend, in pixels; its height is a tenth of that.
        labels: What stands at the cold end and at the hot end.

    Returns:
        The legend on white, RGB.

    Raises:
        InputError: ``colormap`` is unknown, or ``width`` leaves no room for the colours.
    """
    height = max(12, width // 10)
    font, gap = _font(max(9, round(height * 0.6))), height // 3
    start, end = (_length(label, font, len(label)) + gap for label in labels)
    if width - start - end < 16:
        raise InputError(f"a colorbar {width} pixels wide has no room between {labels[0]!r} and {labels[1]!r}")
    strip = Image.fromarray(_table(colormap)[None]).resize((width - start - end, height // 2))
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(strip, (start, (height - strip.height) // 2))
    draw = ImageDraw.Draw(sheet)
    draw.text((0, height / 2), labels[0], "#5f5f5f", font, anchor="lm")
    draw.text((width, height / 2), labels[1], "#5f5f5f", font, anchor="rm")
    return sheet


def panel(
    tiles: Sequence[object],
    captions: Sequence[str] | None = None,
    *,
    height: int | None = None,
    letters: int | None = None,
    title: str | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
) -> Image.Image:
    """Set pictures side by side at one height, each with its caption below.

    Args:
        tiles: The pictures. One wider than three times the height is shown smaller than the others.
        captions: A text for each; long ones are wrapped, and cut after three lines.
        height: The tiles' height in pixels; when None that of the tallest, but from 320 to 1024.
        letters: The captions' height in pixels; by the tiles' height when None.
        title: A text above all.
        background: RGB in [0, 255]; letters are dark on light grounds and light on dark ones.

    Returns:
        The panel, RGB.

    Raises:
        InputError: There are no tiles, or not as many captions as tiles, or ``height`` is not positive.
    """
    pictures = [tile if isinstance(tile, Image.Image) and tile.mode == "RGB" else open_image(tile) for tile in tiles]
    texts = [""] * len(pictures) if captions is None else list(captions)
    if not pictures or len(texts) != len(pictures):
        raise InputError(f"a panel needs tiles and a caption for each: {len(pictures)} tiles, {len(texts)} captions")
    if height is None:
        height = tile_height(pictures)
    if height < 1:
        raise InputError(f"height must be positive, not {height}")
    shown = [_scaled(picture, height) for picture in pictures]
    letters = max(12, min(28, round(height / 16))) if letters is None else letters
    gap, small, large = max(4, height // 26), _font(letters), _font(round(letters * 1.3))
    cells = [max(picture.width, round(height * 0.4)) for picture in shown]
    width = sum(cells) + gap * (len(cells) + 1)
    dark = sum(background) < 384
    below = [_wrap(text, small, cell, 3) for text, cell in zip(texts, cells, strict=True)]
    above = _wrap(title or "", large, width - 2 * gap, 2)
    top = gap + (_line_height(large) * len(above) + gap // 2 if above else 0)
    bottom = max(len(lines) for lines in below) * _line_height(small)
    sheet = Image.new("RGB", (width, top + height + gap + (bottom + gap // 2 if bottom else 0)), background)
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((gap, gap), "\n".join(above), "#f2f2f2" if dark else "#1a1a1a", large)
    left = gap
    for picture, cell, lines in zip(shown, cells, below, strict=True):
        x, y = left + (cell - picture.width) // 2, top + (height - picture.height) // 2
        sheet.paste(picture, (x, y))
        draw.rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline="#5a5a5a" if dark else "#d0d0d0")
        for number, line in enumerate(lines):
            at = (left + cell / 2, top + height + gap // 2 + number * _line_height(small))
            draw.text(at, line, "#c0c0c0" if dark else "#5f5f5f", small, anchor="ma")
        left += cell + gap
    return sheet


def _scaled(picture: Image.Image, height: int) -> Image.Image:
    size = fitted(picture, WIDEST * height, height)
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


@functools.lru_cache(maxsize=32)
def _font(size: int) -> Any:
    """DejaVu Sans, which knows most alphabets, where matplotlib brought it; else the one in Pillow."""
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


def _line_height(font: Any) -> int:
    return int(font.size * 1.35)


def _length(text: str, font: Any, letters: int) -> int:
    """How wide the first ``letters`` of a text are, in pixels."""
    return int(font.getlength(text[:letters]) + 1)


def _wrap(text: str, font: Any, width: int, most: int) -> list[str]:
    """Break a text into at most ``most`` lines of ``width`` pixels; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < most:
        lengths, measured = range(1, len(rest) + 1), functools.partial(_length, rest, font)
        fits = max(1, bisect.bisect_right(lengths, width, key=measured))
        if fits < len(rest):
            if len(lines) == most - 1:
                fits = bisect.bisect_right(lengths, width - _length("…", font, 1), key=measured)
                rest = rest[: max(fits, 1)].rstrip() + "…"
                fits = len(rest)
            else:
                space = rest.rfind(" ", 0, fits + 1)
                fits = space if space > 0 else fits
        lines.append(rest[:fits])
        rest = rest[fits:].lstrip()
    return lines
