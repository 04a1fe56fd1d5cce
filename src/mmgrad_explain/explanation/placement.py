"""Find out where the image of a sample lies in the model's input."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from PIL import Image

from mmgrad_explain.errors import InputError, MMGradWarning
from mmgrad_explain.explanation.sides import call_of, map_of, size_of
from mmgrad_explain.images.placement import Placement
from mmgrad_explain.images.processor_geometry import is_image_processor, place_by_processor
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.images.transform_geometry import place_by_transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmgrad_explain.explanation.maps import ExplainedMaps

STRETCH = "stretch"
"""Stands for the placement of an image that was resized to the model's input without keeping its shape."""
_ORIENTATION = 0x0112  # in EXIF
_ROTATED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")  # fields that may ask to rotate the image


def find_place(explanation: ExplainedMaps, index: int, image: Any, placement: Any, *, target: bool) -> Placement | None:
    """Find where a sample's image lies in the model's input.

    Args:
        explanation: The maps.
        index: Which sample.
        image: The image, where it is passed; None otherwise.
        placement: As for :func:`place_of`.
        target: Whether the image is the target.

    Returns:
        None where no image is known.

    Raises:
        InputError: as :func:`place_of`.
    """
    shape = None
    if image is not None:
        opened = open_as_seen(image, known=placement is None and _known_places(explanation, target=target) is not None)
        shape = (opened.height, opened.width)
    return place_of(explanation, index, shape, placement, target=target)


def open_as_seen(source: Any, *, known: bool = False) -> Image.Image:
    """Read an image as the model saw it.

    Transforms take the pixels of a PIL image as they are stored, even where its EXIF data asks to rotate them.

    Args:
        source: Anything that ``open_image`` takes.
        known: Whether the explanation knows where the upright image lies.
    """
    if known:
        return open_image(source)
    if isinstance(source, Image.Image) and any(name in source.info for name in _ROTATED):
        kept = {name: value for name, value in source.info.items() if name not in _ROTATED}
        try:
            source = source.copy()
        except (OSError, SyntaxError, ValueError):
            return open_image(source)  # raises with the reason
        source.info = kept
        source.getexif().clear()
    image = open_image(source)
    if isinstance(source, str | os.PathLike):
        with Image.open(source) as stored:
            if stored.size != image.size or stored.getexif().get(_ORIENTATION, 1) != 1:
                warnings.warn(
                    f"{os.fspath(source)} is stored rotated (EXIF) and is drawn upright: if the model was given the "
                    "pixels as they are stored, pass the PIL image that its transform was given",
                    MMGradWarning,
                    stacklevel=4,
                )
    return image


def place_of(
    explanation: ExplainedMaps, index: int, shape: tuple[int, int] | None, placement: Any, *, target: bool = False
) -> Placement | None:
    """Find where a sample's image lies in the model's input, from its shape and placement.

    Args:
        explanation: The maps.
        index: Which sample.
        shape: Height and width of the image in pixels, where it is passed.
        placement: A :class:`~mmgrad_explain.images.placement.Placement`; ``"stretch"``; or the transform that made the
            input, a ``Compose`` of torchvision or an image processor of transformers for example. None takes what the
            explanation knows.
        target: Whether the image is the target.

    Returns:
        None where no image is known.

    Raises:
        InputError: the placement does not fit the image or the model's input, or cannot be read from ``placement``.
    """
    input_size, known = input_of(explanation, target=target), _known_places(explanation, target=target)
    if placement is None and known is not None:
        _compare_shapes(shape, known[index].original, "the image that was explained")
        return known[index]
    if isinstance(placement, Placement):
        _compare_shapes(shape, placement.original, "the image that the placement is of")
        return _check_place(placement, explanation, target=target)
    if shape is None:
        if placement is None:
            return None
        raise InputError("placement: pass image= too: where a transform puts an image depends on the size of the image")
    if placement is None:
        _compare_shapes(shape, input_size, "the map" if explanation.input_size is None else "the model's input")
        return _stretch(shape, input_size)
    if isinstance(placement, str) and placement == STRETCH:
        return _stretch(shape, input_size)
    return _check_place(_invert_maker(placement, shape), explanation, target=target)


def _invert_maker(maker: Any, shape: tuple[int, int]) -> Placement:
    """Find where the transform or processor that made the input puts the image."""
    if is_image_processor(maker):
        return place_by_processor(maker, shape)
    if isinstance(maker, str) or not callable(maker):
        raise InputError(
            f"placement: give a Placement, the transform that made the input, or {STRETCH!r}, not {maker!r}"
        )
    return place_by_transform(maker, shape)


def _check_place(place: Placement, explanation: ExplainedMaps, *, target: bool) -> Placement:
    """Raise InputError for a placement in an input of another size than the model's."""
    size = size_of(explanation, target=target)
    if size is not None and place.input != size and (explanation.image_sizes or not target):
        raise InputError(
            f"placement: it is for an input of {_format_size(place.input)} pixels, and the model was given one of "
            f"{_format_size(size)}: pass the transform that made this input"
        )
    return place


def place_each(
    explanation: ExplainedMaps, images: Any, placement: Any, *, target: bool
) -> tuple[tuple[Image.Image, ...], tuple[Placement, ...]]:
    """Open an image for each sample and find where it lies in the model's input.

    Args:
        explanation: The maps.
        images: One for all samples, or one each.
        placement: As for :func:`place_of`; one for all, or a list with one each.
        target: Whether the images are the targets.

    Raises:
        InputError: as :func:`place_of`, or there is not one image for each sample.
    """
    name = "targets" if target else "images"
    known = placement is None and _known_places(explanation, target=target) is not None
    opened = [open_as_seen(image, known=known) for image in _repeat_for_each(name, images, len(explanation))]
    placements = _repeat_for_each("placement", placement, len(explanation))
    places = []
    for index, image in enumerate(opened):
        map_of(explanation, index, target=target)  # raises if there is no such map
        place = place_of(explanation, index, (image.height, image.width), placements[index], target=target)
        places += [] if place is None else [place]
    return tuple(opened), tuple(places)


def _repeat_for_each(name: str, items: Any, count: int) -> Sequence[Any]:
    """Return a list with one item for each sample, of one for all or a list."""
    if not isinstance(items, list | tuple):
        return [items] * count
    if len(items) not in (1, count):
        raise InputError(f"{name}: {len(items)} for {count} samples: give one for all, or one each")
    return list(items) * (count if len(items) == 1 else 1)


def _known_places(explanation: ExplainedMaps, *, target: bool) -> tuple[Placement, ...] | None:
    return explanation.target_placements if target else explanation.placements


def input_of(explanation: ExplainedMaps, *, target: bool) -> tuple[int, int]:
    """Return (H, W) of the model's input, or of the map where that is not known."""
    grid = explanation.calls[call_of(explanation, target=target)].shape
    return size_of(explanation, target=target) or (grid[1], grid[2])


def _stretch(shape: tuple[int, int], size: tuple[int, int]) -> Placement:
    return Placement(shape, size, (size[0] / shape[0], size[1] / shape[1]), (0.0, 0.0))


def _compare_shapes(shape: tuple[int, int] | None, other: tuple[int, int], what: str) -> None:
    """Warn where an image has another aspect ratio, by more than a pixel."""
    if shape is None:
        return
    (rows, columns), (height, width) = shape, other
    if min(abs(width * rows / columns - height), abs(height * columns / rows - width)) <= 1:
        return
    warnings.warn(
        f"image: its shape, {_format_size(shape)}, is not that of {what}, {_format_size(other)}, so that the map is "
        "stretched over the image. If the image was cropped or padded for the model, pass placement= (the transform "
        f"that made the input, or a Placement); if it was stretched, placement={STRETCH!r}",
        MMGradWarning,
        stacklevel=5,
    )


def _format_size(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
