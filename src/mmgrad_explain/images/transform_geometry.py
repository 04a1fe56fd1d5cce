"""Placement of an image by a transform of torchvision, timm or open_clip, from the transform's settings.

Supported are resizes, centre crops and paddings, alone or in a ``Compose``, and steps that change values only. A step
that moves pixels at random, or in a way that is not in its settings, is refused. None of these libraries is imported: a
step is recognised by the names of its class and of its package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGES = {"torchvision", "timm", "open_clip", "clip", "torch"}
_CONTAINERS = {"Compose", "Sequential"}
_CHOOSING = {"RandomApply", "RandomOrder", "RandomChoice"}  # these apply one or some of their steps
_STILL = {
    *("ToTensor", "PILToTensor", "ToPILImage", "ConvertImageDtype", "ToImage", "ToDtype", "ToPureTensor", "ToNumpy"),
    *("MaybeToTensor", "MaybePILToTensor", "MaybeConvertMode", "_convert_to_rgb", "_convert_image_to_rgb", "RGB"),
    *("Normalize", "Identity", "ObjectDetection", "Grayscale", "RandomGrayscale", "gray_scale", "ColorJitter"),
    *("color_jitter", "GaussianBlur", "GaussianNoise", "JPEG", "RandomErasing", "RandomInvert", "RandomPosterize"),
    *("RandomSolarize", "RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize", "RandomPhotometricDistort"),
    *("RandomChannelPermutation",),
}
_WAYS = (
    "hand over the transform of evaluation that made the input, the Compose of its resizes, crops and pads alone, or a "
    "Placement"
)


_Window: TypeAlias = tuple[tuple[float, float], tuple[float, float]]


class _Canvas:
    """Placement of the image while the steps are followed; all pairs are (y, x)."""

    def __init__(self, original: tuple[int, int]) -> None:
        self.original = self.size = original
        self.scale, self.offset = (1.0, 1.0), (0.0, 0.0)
        self.window = self._whole = ((0.0, float(original[0])), (0.0, float(original[1])))

    def resize(self, rows: int, columns: int) -> None:
        """Resize to a number of rows and columns."""
        self._check(min(rows, columns) > 0)
        y, x = rows / self.size[0], columns / self.size[1]
        self.scale = self.scale[0] * y, self.scale[1] * x
        self.offset = self.offset[0] * y, self.offset[1] * x
        self.size = rows, columns

    def crop(self, top: int, left: int, rows: int, columns: int) -> None:
        """Crop to a region; the parts of it beyond the borders are padding."""
        self._check(min(rows, columns) > 0)
        self.offset = self.offset[0] - top, self.offset[1] - left
        self.size = rows, columns
        self.window = self._visible_part(self.window)
        self._check(all(low < high for low, high in self.window))

    def _visible_part(self, window: _Window) -> _Window:
        """Return the part of a window of the original that is in the input, in pixels of the original."""
        ends = [
            (max(low, -offset / scale), min(high, (side - offset) / scale))
            for (low, high), offset, scale, side in zip(window, self.offset, self.scale, self.size, strict=True)
        ]
        return ends[0], ends[1]

    def _check(self, something: bool) -> None:  # noqa: FBT001
        if not something:
            rows, columns = self.original
            raise InputError(
                f"placement: the transform leaves nothing of an image of {columns} x {rows} pixels: {_WAYS}"
            )

    def placement(self) -> Placement:
        """Return the placement after all steps, with a window where cropped parts were padded over."""
        natural = self._visible_part(self._whole)
        remaining, visible = (sum(window, ()) for window in (self.window, natural))
        differs = any(abs(a - b) > 1e-6 for a, b in zip(remaining, visible, strict=True))
        return Placement(self.original, self.size, self.scale, self.offset, self.window if differs else None)


def place_by_transform(transform: Any, original: tuple[int, int]) -> Placement:
    """Return the placement of an image by a transform.

    Args:
        transform: A transform of torchvision (v1 or v2), timm or open_clip for one image.
        original: Height and width of the image, in pixels.

    Returns:
        The placement; parts that are cropped and later padded over count as not seen.

    Raises:
        InputError: A step moves pixels at random or is not known, or nothing of the image is left.
    """
    canvas = _Canvas(original)
    for step in _steps(transform):
        _apply(step, canvas)
    return canvas.placement()


def _name(step: Any) -> str:
    return str(getattr(step, "__name__", type(step).__name__))


def _is_known(step: Any) -> bool:
    module = getattr(step, "__module__", None) if hasattr(step, "__name__") else type(step).__module__
    return str(module).partition(".")[0] in _PACKAGES


def _steps(transform: Any) -> Iterator[Any]:
    """List the steps in order, with those of inner containers."""
    name = _name(transform)
    if not _is_known(transform) or name not in _CONTAINERS | _CHOOSING:
        yield transform
        return
    inner = [step for part in getattr(transform, "transforms", transform) for step in _steps(part)]
    if name in _CHOOSING and all(_is_known(step) and _name(step) in _STILL for step in inner):
        return
    if name in _CHOOSING:
        yield transform  # which is refused
        return
    yield from inner


def _apply(step: Any, canvas: _Canvas) -> None:
    """Apply one step."""
    name = _name(step)
    if not _is_known(step):
        raise InputError(f"placement: {name} puts the image in an unknown place: {_WAYS}")
    if name in _STILL:
        return
    if name in _MOVES:
        _MOVES[name](step, canvas)
        return
    if name.startswith("Random") or name in _CHOOSING | {"FiveCrop", "TenCrop", "ScaleJitter"}:
        raise InputError(f"placement: {name} puts the image in another place each time: {_WAYS}")
    raise InputError(f"placement: {name} puts the image in an unknown place: {_WAYS}")


def _sides(size: Any) -> tuple[int, ...]:
    return tuple(map(int, size)) if isinstance(size, list | tuple) else (int(size),)


def _resize(step: Any, canvas: _Canvas) -> None:
    longest: int | None = getattr(step, "max_size", None)
    if step.size is not None:
        _resize_to(canvas, _sides(step.size), longest)
    elif longest is not None:
        short, long = sorted(canvas.size)
        _resize_sides(canvas, int(longest * short / long), longest)


def _resize_to(canvas: _Canvas, size: tuple[int, ...], longest: int | None = None) -> None:
    """Resize to a height and width; or the shorter side to a size, the longer one to at most ``longest``."""
    if len(size) == 2:
        canvas.resize(*size)
        return
    short, long = sorted(canvas.size)
    new_short, new_long = size[0], int(size[0] * long / short)
    if longest is not None and new_long > longest:
        new_short, new_long = int(longest * new_short / new_long), longest
    _resize_sides(canvas, new_short, new_long)


def _resize_sides(canvas: _Canvas, short: int, long: int) -> None:
    canvas.resize(*((short, long) if canvas.size[0] <= canvas.size[1] else (long, short)))


def _resize_keep_ratio(step: Any, canvas: _Canvas) -> None:
    """Apply the resize of timm and open_clip, between filling a size and fitting into it."""
    if step.random_scale_prob > 0 or step.random_aspect_prob > 0:
        raise InputError(f"placement: {_name(step)} puts the image in another place each time: {_WAYS}")
    ratios = [side / aim for side, aim in zip(canvas.size, step.size, strict=True)]
    ratio = max(ratios) * step.longest + min(ratios) * (1.0 - step.longest)
    canvas.resize(*(round(side / ratio) for side in canvas.size))


def _centre_crop(step: Any, canvas: _Canvas) -> None:
    _centre_crop_to(canvas, _sides(step.size))


def _centre_crop_to(canvas: _Canvas, size: tuple[int, ...]) -> None:
    """Crop evenly where the image is larger; pad, with the smaller half first, where it is smaller."""
    wanted = (size[0], size[-1])
    top, left = (
        -((want - have) // 2) if have < want else round((have - want) / 2)
        for have, want in zip(canvas.size, wanted, strict=True)
    )
    canvas.crop(top, left, *wanted)


def _pad(step: Any, canvas: _Canvas) -> None:
    sides = _sides(step.padding)
    left, top, right, bottom = sides if len(sides) == 4 else (sides[0], sides[-1], sides[0], sides[-1])
    canvas.crop(-top, -left, canvas.size[0] + top + bottom, canvas.size[1] + left + right)


def _trim(step: Any, canvas: _Canvas) -> None:
    border = int(step.border_size)
    canvas.crop(border, border, *(max(0, side - 2 * border) for side in canvas.size))


def _preset(step: Any, canvas: _Canvas) -> None:
    """Apply a preset of torchvision: a resize, then a centre crop where there is one."""
    _resize_to(canvas, _sides(step.resize_size))
    if hasattr(step, "crop_size"):
        _centre_crop_to(canvas, _sides(step.crop_size))


_MOVES = {
    "Resize": _resize,
    "ResizeKeepRatio": _resize_keep_ratio,
    "CenterCrop": _centre_crop,
    "CenterCropOrPad": _centre_crop,
    "Pad": _pad,
    "TrimBorder": _trim,
    "ImageClassification": _preset,
    "SemanticSegmentation": _preset,
}
