"""Edits of one object of a photograph, given its mask: recolour, darken, brighten, gray, pattern, blur, remove, swap.

Everything works on arrays in memory and touches only the mask's surroundings, so an edit of a small image takes
about a millisecond. Pixels outside the mask (for ``remove`` and ``add``: outside the grown mask) stay as they were, bit
for bit; within the mask a bool mask's edge is softened over one pixel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mmgrad_explain.data.edits.colours import (
    COLOURS,
    Colour,
    lab_to_rgb,
    measure_lab_distances,
    repaint,
    rgb_to_lab,
)
from mmgrad_explain.data.edits.masks import dilate_mask, find_removal_margin, find_window, make_opacity, sample_inside
from mmgrad_explain.data.edits.options import EDIT_KINDS
from mmgrad_explain.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    _Mask: TypeAlias = npt.NDArray[np.bool_] | npt.NDArray[np.float32] | npt.NDArray[np.float64]
    _Floats: TypeAlias = npt.NDArray[np.float32]
    _Pixels: TypeAlias = npt.NDArray[np.uint8]


PATTERNS = ("stripes", "polka dots", "checks")
"""The patterns of ``pattern``."""


def apply_edit(
    kind: str,
    image: _Pixels,
    mask: _Mask,
    detail: str | _Mask | None = None,
    rng: np.random.Generator | None = None,
) -> _Pixels:
    """Edit one object.

    Args:
        kind: One of :data:`~mmgrad_explain.data.edits.options.EDIT_KINDS`. For ``add`` the result is the image
            *without* the object: that is the reference, and the given image is the target.
        image: (H, W, 3) uint8, RGB.
        mask: (H, W), the object: bool, or float opacities in [0, 1] where the edge is soft already.
        detail: ``recolour``: a key of :data:`~mmgrad_explain.data.edits.colours.COLOURS`. ``pattern``: one of
            :data:`PATTERNS`. ``swap``: the mask (H, W) of the object whose colour and texture this one takes.
            Otherwise not used.
        rng: Decides shades, strengths and the like; equal states give equal results. Seed 0 when None.

    Returns:
        (H, W, 3) uint8, a new array.

    Raises:
        TypeError: ``image`` or a mask is of another type.
        InputError: ``kind`` or ``detail`` is unknown, shapes do not match, or the mask is empty.
    """
    if kind not in _EDITORS:
        raise InputError(f"unknown kind of edit {kind!r}: {did_you_mean(kind, EDIT_KINDS)}use {', '.join(EDIT_KINDS)}")
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError("image must be a uint8 array")
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"image must have shape (height, width, 3), not {image.shape}")
    alpha = make_opacity(mask, image.shape[:2], "mask")
    if rng is None:
        rng = np.random.default_rng(0)
    return _EDITORS[kind](image, alpha, detail, rng)


def pick_detail(
    rng: np.random.Generator, kind: str, image: _Pixels, mask: _Mask, *, distance: float = 30.0
) -> str | None:
    """Draw a detail that makes a visible difference.

    Args:
        rng: The source of chance.
        kind: One of :data:`~mmgrad_explain.data.edits.options.EDIT_KINDS`.
        image: (H, W, 3) uint8, RGB.
        mask: (H, W).
        distance: Smallest distance of a new colour to the object's, CIE76; the farthest colour if none is so far.

    Returns:
        A colour word for ``recolour``, a pattern for ``pattern``, None for the other kinds.
    """
    if kind == "pattern":
        return PATTERNS[int(rng.random() * len(PATTERNS))]
    if kind != "recolour":
        return None
    distances = measure_lab_distances(image, mask)
    far = [word for word, value in distances.items() if value >= distance] or [
        max(distances, key=distances.__getitem__)
    ]
    return far[int(rng.random() * len(far))]


def _blend(image: _Pixels, where: tuple[slice, slice], new: npt.NDArray[Any], alpha: _Floats) -> _Pixels:
    """Blend a new window over a copy of the image; where alpha is 0 the pixels stay the same, bit for bit."""
    result = image.copy()
    old = image[where].astype(np.float32)
    result[where] = old + alpha[..., None] * (new - old) + np.float32(0.5)
    return result


# ------------------------------------------------------------------------------------------------------------ edits


def _word(detail: object, known: tuple[str, ...], what: str) -> str:
    if not isinstance(detail, str) or detail not in known:
        hint = did_you_mean(detail, known) if isinstance(detail, str) else ""
        raise InputError(f"detail must be a {what}, not {detail!r}: {hint}use {', '.join(known)}")
    return detail


def _recolour(image: _Pixels, alpha: _Floats, detail: object, rng: np.random.Generator) -> _Pixels:
    colour = COLOURS[_word(detail, tuple(COLOURS), "colour word")]
    where = find_window(alpha)
    alpha = alpha[where]
    return _blend(image, where, lab_to_rgb(repaint(rgb_to_lab(image[where]), alpha, colour, rng)), alpha)


def _darken(image: _Pixels, alpha: _Floats, _: object, rng: np.random.Generator) -> _Pixels:
    where = find_window(alpha)
    return _blend(image, where, image[where] * np.float32(0.3 + 0.2 * rng.random()), alpha[where])


def _brighten(image: _Pixels, alpha: _Floats, _: object, rng: np.random.Generator) -> _Pixels:
    where = find_window(alpha)
    lab = rgb_to_lab(image[where])
    lab[..., 0] = 100 * (lab[..., 0] / 100) ** np.float32(0.4 + 0.15 * rng.random())
    return _blend(image, where, lab_to_rgb(lab), alpha[where])


def _gray(image: _Pixels, alpha: _Floats, _: object, rng: np.random.Generator) -> _Pixels:  # noqa: ARG001
    where = find_window(alpha)
    lab = rgb_to_lab(image[where])
    lab[..., 1:] = 0
    return _blend(image, where, lab_to_rgb(lab), alpha[where])


def _pattern(image: _Pixels, alpha: _Floats, detail: object, rng: np.random.Generator) -> _Pixels:
    name = _word(detail, PATTERNS, "pattern")
    where = find_window(alpha)
    alpha = alpha[where]
    lab = rgb_to_lab(image[where])
    typical = np.median(sample_inside(lab, alpha >= 0.5), 0)
    ink = "white" if typical[0] < 55 else "black"
    if rng.random() < 0.4:  # a coloured ink, if one stands out
        word = tuple(COLOURS)[int(rng.random() * len(COLOURS))]
        if abs(np.mean(COLOURS[word].light) - typical[0]) > 25:
            ink = word
    period = min(max(math.sqrt(float(alpha.sum())) / (3.5 + 2.5 * rng.random()), 6.0), 60.0)
    cover = _cover(name, alpha.shape, period, rng)
    return _blend(image, where, lab_to_rgb(repaint(lab, alpha, COLOURS[ink], rng)), alpha * cover)


def _cover(name: str, shape: tuple[int, ...], period: float, rng: np.random.Generator) -> _Floats:
    """Make a pattern's opacity, with edges softened over about a pixel."""
    angle = math.radians((0, 90, 45, 135)[int(rng.random() * 4)] + 8 * (rng.random() - 0.5))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / np.float32(period)
    u = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle)) + np.float32(rng.random())
    v = y * np.float32(math.cos(angle)) - x * np.float32(math.sin(angle)) + np.float32(rng.random())
    if name == "stripes":
        return _bands(u, period)
    if name == "checks":
        first, second = _bands(u, period), _bands(v, period)
        return first + second - 2 * first * second
    u = u + np.float32(0.5) * (np.floor(v) % 2)  # every other row of dots stands between those of the last one
    dots = 0.5 + period * (np.float32(0.3) - np.hypot(u % 1 - 0.5, v % 1 - 0.5))
    return np.asarray(np.clip(dots, 0, 1), np.float32)


def _bands(u: _Floats, period: float) -> _Floats:
    """Cover half of every unit."""
    return np.asarray(np.clip(0.5 + period * (0.25 - np.abs(u % 1 - 0.5)), 0, 1), np.float32)


def _blur(image: _Pixels, alpha: _Floats, _: object, rng: np.random.Generator) -> _Pixels:
    """Blur the object with its own pixels alone, so that no background mixes in."""
    import cv2

    where = find_window(alpha)
    alpha = alpha[where]
    sigma = min(max(math.sqrt(float(alpha.sum())) * (0.07 + 0.04 * rng.random()), 2.0), 16.0)
    inside = (alpha > 0).astype(np.float32)
    weighted = np.concatenate([image[where] * inside[..., None], inside[..., None]], 2)
    mixed = cv2.GaussianBlur(weighted, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return _blend(image, where, mixed[..., :3] / np.maximum(mixed[..., 3:], 1e-3), alpha)


def _remove(image: _Pixels, alpha: _Floats, _: object, rng: np.random.Generator) -> _Pixels:
    """Inpaint (Telea, 2004) the mask with a margin, and add the grain of its surroundings."""
    import cv2

    solid = alpha >= 0.5
    margin = find_removal_margin(solid)
    where = find_window(alpha, margin + 24)
    hole = dilate_mask(solid[where], margin)
    part = np.ascontiguousarray(image[where])
    if hole.all():
        raise InputError("mask covers the whole image: nothing is left to fill it from")
    filled = cv2.inpaint(part, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA).astype(np.float32)
    ring = dilate_mask(hole, 8) & ~hole
    smooth = cv2.GaussianBlur(part, (0, 0), 1.2).astype(np.float32)
    grain = float(np.std((part - smooth)[ring])) if ring.any() else 0.0
    noise = rng.standard_normal((*hole.shape, 1), np.float32) * np.float32(min(grain, 6.0))
    soft = cv2.GaussianBlur(hole.astype(np.float32), (3, 3), 0.6) * hole
    return _blend(image, where, np.clip(filled + noise, 0, 255), np.asarray(soft, np.float32))


def _swap(image: _Pixels, alpha: _Floats, detail: object, rng: np.random.Generator) -> _Pixels:
    """Give the object the colour and texture of another one in the image; its shading stays."""
    import cv2

    if detail is None or isinstance(detail, str):
        raise InputError("detail must be the mask of the object whose look is taken")
    giver = make_opacity(detail, image.shape[:2], "detail") >= 0.5
    where = find_window(alpha)
    alpha = alpha[where]
    lab, other = rgb_to_lab(image[where]), rgb_to_lab(image)
    typical = np.median(sample_inside(other, giver), 0).astype(np.float32)
    low, high = max(typical[0], 10), min(typical[0], 93)
    worn = repaint(lab, alpha, Colour((min(low, high), min(low, high)), 0, 0), rng)
    worn[..., 1:] = typical[1:]
    # The largest square within the giver, tiled with mirrored copies, brings its texture along.
    depth = cv2.distanceTransform(cv2.copyMakeBorder(giver.astype(np.uint8), 1, 1, 1, 1, 0), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    half = int(depth[row, column] / math.sqrt(2))
    if half >= 4:
        patch = other[row - half : row + half, column - half : column + half]
        patch = patch - np.median(patch.reshape(-1, 3), 0).astype(np.float32)
        tiles = [_mirrored(size, len(patch)) for size in alpha.shape]
        worn += patch[np.ix_(*tiles)] * np.array([0.8, 1, 1], np.float32)
    return _blend(image, where, lab_to_rgb(worn), alpha)


def _mirrored(length: int, period: int) -> npt.NDArray[np.intp]:
    """Make the indices 0, 1, ... period - 1, period - 1, ... 1, 0, 0, 1 ..."""
    steps = np.arange(length) % (2 * period)
    return np.minimum(steps, 2 * period - 1 - steps)


_EDITORS: dict[str, Callable[[_Pixels, _Floats, object, np.random.Generator], _Pixels]] = {
    "recolour": _recolour,
    "darken": _darken,
    "brighten": _brighten,
    "gray": _gray,
    "pattern": _pattern,
    "blur": _blur,
    "remove": _remove,
    "add": _remove,
    "swap": _swap,
}
