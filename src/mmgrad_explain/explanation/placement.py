"""Where a sample's picture lies in the model's input, and the sample's map on the picture's own pixels."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mmgrad_explain.errors import InputError, MMGradWarning
from mmgrad_explain.explanation.fusion import resize_maps
from mmgrad_explain.explanation.sides import call_of, size_of
from mmgrad_explain.images.placement import Placement
from mmgrad_explain.images.processor_geometry import is_image_processor, place_by_processor
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.transform_geometry import place_by_transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from mmgrad_explain.explanation.result import Explanation

STRETCH = "stretch"
"""What is said in a placement's stead where the picture was resized to the input without regard to its shape."""
_ORIENTATION = 0x0112  # in EXIF
_TURNED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")  # where a file says that it is to be turned


def heat_of(
    explanation: Explanation,
    grid: Tensor,
    index: int,
    *,
    target: bool = False,
    normalize: bool = True,
    size: tuple[int, int] | None = None,
    image: Any = None,
    placement: Any = None,
) -> NDArray[np.float32]:
    """Give one map, (h, w), on its picture; see :meth:`~mmgrad_explain.attention.Explanation.heatmap`."""
    shape = None
    if image is not None:
        picture = open_as_seen(image, known=placement is None and _known(explanation, target=target) is not None)
        shape = (picture.height, picture.width)
    place = place_of(explanation, index, shape, placement, target=target)
    if place is not None:
        heat = (place if size is None else place.of_copy(size)).to_original(grid.cpu().numpy())
    else:
        heat = resize_maps(grid[None], size or _input_of(explanation, target=target))[0].cpu().numpy()
    if not normalize:
        return heat
    largest = float(heat.max())
    if bool(grid.max() <= grid.min()) or largest <= 0:
        return np.zeros_like(heat)
    return np.asarray(np.clip(heat / largest, 0, 1), dtype=np.float32)


def open_as_seen(source: Any, *, known: bool = False) -> Image.Image:
    """Read a picture as a model was given it.

    A PIL image is what transforms are handed, and they take its pixels as they are, whatever its EXIF says of turning
    them.

    Args:
        source: Anything that ``open_image`` takes.
        known: The explanation knows where the upright picture lies.
    """
    if known:
        return open_image(source)
    if isinstance(source, Image.Image) and any(name in source.info for name in _TURNED):
        kept = {name: value for name, value in source.info.items() if name not in _TURNED}
        try:
            source = source.copy()
        except (OSError, SyntaxError, ValueError):
            return open_image(source)  # which says what is wrong with it
        source.info = kept
        source.getexif().clear()
    picture = open_image(source)
    if isinstance(source, str | os.PathLike):
        with Image.open(source) as stored:
            if stored.size != picture.size or stored.getexif().get(_ORIENTATION, 1) != 1:
                warnings.warn(
                    f"{os.fspath(source)} is stored turned (EXIF), and is drawn upright: if the model was given the "
                    "pixels as they are stored, hand over the PIL image that its transform was given",
                    MMGradWarning,
                    stacklevel=4,
                )
    return picture


def place_of(
    explanation: Explanation, index: int, shape: tuple[int, int] | None, placement: Any, *, target: bool = False
) -> Placement | None:
    """Say where a sample's picture lies in the model's input.

    Args:
        explanation: The maps.
        index: Which sample.
        shape: Height and width of the picture in pixels, where it is handed over.
        placement: A :class:`~mmgrad_explain.images.placement.Placement`; ``"stretch"``; or the transform that made the
            input, a ``Compose`` of torchvision or an image processor of transformers for example. None takes what the
            explanation knows.
        target: Of the target.

    Returns:
        None where no picture is known.

    Raises:
        InputError: it does not fit the picture or the model's input, or cannot be told.
    """
    own, known = _input_of(explanation, target=target), _known(explanation, target=target)
    if placement is None and known is not None:
        _compare_shapes(shape, known[index].original, "the picture that was explained")
        return known[index]
    if isinstance(placement, Placement):
        _compare_shapes(shape, placement.original, "the picture that the placement is of")
        return _checked(placement, explanation, target=target)
    if shape is None:
        if placement is None:
            return None
        raise InputError("placement: pass image= too: where a transform puts a picture depends on the picture's size")
    if placement is None:
        _compare_shapes(shape, own, "the map" if explanation.input_size is None else "the model's input")
        return _stretched(shape, own)
    if isinstance(placement, str) and placement == STRETCH:
        return _stretched(shape, own)
    return _checked(_undone(placement, shape), explanation, target=target)


def _undone(maker: Any, shape: tuple[int, int]) -> Placement:
    """Where what made the input put the picture."""
    if is_image_processor(maker):
        return place_by_processor(maker, shape)
    if isinstance(maker, str) or not callable(maker):
        raise InputError(
            f"placement: give a Placement, the transform that made the input, or {STRETCH!r}, not {maker!r}"
        )
    return place_by_transform(maker, shape)


def _checked(place: Placement, explanation: Explanation, *, target: bool) -> Placement:
    """Refuse what is not of the model's input."""
    own = size_of(explanation, target=target)
    if own is not None and place.input != own and (explanation.sizes or not target):
        raise InputError(
            f"placement: it is of an input of {_pixels(place.input)} pixels, and the model was given one of "
            f"{_pixels(own)}: hand over the transform that made this input"
        )
    return place


def attach_images(
    explanation: Explanation, images: Any, placement: Any = None, *, targets: Any = None, target_placement: Any = None
) -> Explanation:
    """Give an explanation its pictures; see :meth:`~mmgrad_explain.attention.Explanation.attach_images`."""
    pictures, places = _attached(explanation, images, placement, target=False)
    found = replace(explanation, images=pictures, placements=places)
    if targets is None:
        return found
    if target_placement is None and not isinstance(placement, Placement | list | tuple):
        target_placement = placement
    pictures, places = _attached(explanation, targets, target_placement, target=True)
    return replace(found, targets=pictures, target_placements=places)


def _attached(
    explanation: Explanation, images: Any, placement: Any, *, target: bool
) -> tuple[tuple[Image.Image, ...], tuple[Placement, ...]]:
    name = "targets" if target else "images"
    known = placement is None and _known(explanation, target=target) is not None
    pictures = [open_as_seen(one, known=known) for one in _one_each(name, images, len(explanation))]
    given = _one_each("placement", placement, len(explanation))
    places = []
    for index, picture in enumerate(pictures):
        explanation.heatmap(index, target=target, size=(1, 1))  # is there such a map?
        shape = (picture.height, picture.width)
        place = place_of(explanation, index, shape, given[index], target=target)
        places += [] if place is None else [place]
    return tuple(pictures), tuple(places)


def _one_each(name: str, given: Any, count: int) -> Sequence[Any]:
    """One for all, or a list with one each."""
    if not isinstance(given, list | tuple):
        return [given] * count
    if len(given) not in (1, count):
        raise InputError(f"{name}: {len(given)} for {count} samples: give one for all, or one each")
    return list(given) * (count if len(given) == 1 else 1)


def _known(explanation: Explanation, *, target: bool) -> tuple[Placement, ...] | None:
    return explanation.target_placements if target else explanation.placements


def _input_of(explanation: Explanation, *, target: bool) -> tuple[int, int]:
    """(H, W) of the model's input, or of the map where that is not known."""
    grid = explanation.calls[call_of(explanation, target=target)].shape
    return size_of(explanation, target=target) or (grid[1], grid[2])


def _stretched(shape: tuple[int, int], own: tuple[int, int]) -> Placement:
    return Placement(shape, own, (own[0] / shape[0], own[1] / shape[1]), (0.0, 0.0))


def _compare_shapes(shape: tuple[int, int] | None, other: tuple[int, int], what: str) -> None:
    """Warn where a picture has not the shape of another, to the pixel."""
    if shape is None:
        return
    (rows, columns), (height, width) = shape, other
    if min(abs(width * rows / columns - height), abs(height * columns / rows - width)) <= 1:
        return
    warnings.warn(
        f"image: its shape, {_pixels(shape)}, is not that of {what}, {_pixels(other)}, so that the map is stretched "
        "over the picture. If that was cropped or padded on the way into the model, pass placement= (the transform "
        f"that made the input, or a Placement); if it was stretched, placement={STRETCH!r}",
        MMGradWarning,
        stacklevel=5,
    )


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
