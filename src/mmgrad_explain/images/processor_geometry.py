"""Placement of an image by an image processor of transformers, from the processor's settings.

Supported are padding to a square (LLaVA's), then a resize to a height and width, of the shortest edge or into a frame
(ViLT's and BridgeTower's to whole patches), then a centre crop or padding below and to the right.
"""

from __future__ import annotations

from typing import Any

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement

SETTINGS = "preprocessor_config.json"
_SQUARED = "LlavaImageProcessor"
_PADDED_TO_EACH_OTHER = ("ViltImageProcessor", "BridgeTowerImageProcessor")  # these resize to multiples of size_divisor
_KINDS = {
    *("CLIPImageProcessor", "SiglipImageProcessor", "ViTImageProcessor", "BlipImageProcessor", "BitImageProcessor"),
    *("ChineseCLIPImageProcessor", "DeiTImageProcessor", _SQUARED, *_PADDED_TO_EACH_OTHER),
}
_RESIZES = (
    {"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"}, {"max_height", "max_width"},
)  # fmt: skip
_LONGEST = 1333 / 800  # the longest edge of their resize, as a multiple of the shortest


def check_geometry(processor: Any) -> None:
    """Check that the placement of images follows from an image processor's settings.

    Raises:
        InputError: A setting changes the geometry in a way that is not known.
    """
    unknown = ["do_image_splitting"] if getattr(processor, "do_image_splitting", None) else []
    if getattr(processor, "do_pad", None) and not _padding_is_known(processor):
        unknown.append("do_pad")
    size, crop = sides_of(processor, "size"), _crop(processor)
    if getattr(processor, "do_resize", None) and {*size} not in _RESIZES:
        unknown.append(f"a resize to {size}")
    if getattr(processor, "do_center_crop", None) and {*crop} != {"height", "width"}:
        unknown.append(f"a crop of {crop}")
    if unknown:
        raise InputError(
            f"the image processor {type(processor).__name__} uses {' and '.join(unknown)}, which cannot be undone on "
            "the map: supported are resizes to height and width, of the shortest edge or into a frame, a crop of "
            "the centre, and padding to a square first or to a pad_size in the place of a crop"
        )


def is_image_processor(processor: Any) -> bool:
    """Return whether an object is an image processor of transformers, or a processor that has one."""
    image_processor = getattr(processor, "image_processor", processor)
    return hasattr(image_processor, "preprocess") and hasattr(image_processor, "do_resize")


def place_by_processor(processor: Any, original: tuple[int, int]) -> Placement:
    """Return the placement of an image by an image processor, or by a processor that has one.

    Args:
        processor: The processor.
        original: Height and width of the image, in pixels.

    Raises:
        InputError: Its class or its geometry is not known (see :func:`check_geometry`), or the image is too long and
            narrow.
    """
    image_processor = getattr(processor, "image_processor", processor)
    if _kind(image_processor) not in _KINDS:
        raise InputError(
            f"placement: {type(image_processor).__name__} puts the image in an unknown place: hand over a "
            "Placement, or explain the model with load_composer and explain()"
        )
    check_geometry(image_processor)
    return place(image_processor, original)


def place(processor: Any, original: tuple[int, int]) -> Placement:
    """Return the placement of an image by an image processor.

    Args:
        processor: The image processor; see :func:`check_geometry`.
        original: Height and width of the image, in pixels.

    Raises:
        InputError: The image is too long and narrow.
    """
    (rows, columns), offset = original, (0.0, 0.0)
    if getattr(processor, "do_pad", None) and _kind(processor) == _SQUARED:
        side = max(original)
        rows, columns, offset = side, side, (float((side - rows) // 2), float((side - columns) // 2))
    before = rows, columns
    if getattr(processor, "do_resize", None):
        rows, columns = _resized(processor, before)
    stretch = rows / before[0], columns / before[1]
    offset = offset[0] * stretch[0], offset[1] * stretch[1]
    if getattr(processor, "do_center_crop", None):
        crop = _crop(processor)
        height, width = crop["height"], crop["width"]
        offset = offset[0] + _margin(processor, rows, height), offset[1] + _margin(processor, columns, width)
        rows, columns = height, width
    if getattr(processor, "do_pad", None) and (pad := sides_of(processor, "pad_size")):
        rows, columns = pad["height"], pad["width"]
    return Placement(original, (rows, columns), stretch, offset)


def _kind(image_processor: Any) -> str:
    """Return the name of its class without the suffix of a backend."""
    return type(image_processor).__name__.removesuffix("Fast").removesuffix("Pil")


def _crop(image_processor: Any) -> dict[str, int]:
    """Return the sides of the crop; BridgeTower's square is named by one edge, by default that of the resize."""
    crop = sides_of(image_processor, "crop_size")
    if _kind(image_processor) not in _PADDED_TO_EACH_OTHER:
        return crop
    edge = {**sides_of(image_processor, "size"), **crop}.get("shortest_edge", 0)
    return {"height": edge, "width": edge}


def name_crop_edge(image_processor: Any) -> None:
    """Name a crop by its edge where the processor reads nothing else; some published settings give a number."""
    if _kind(image_processor) not in _PADDED_TO_EACH_OTHER or not getattr(image_processor, "do_center_crop", None):
        return
    crop = sides_of(image_processor, "crop_size")
    edges = {*crop.values()}
    if len(edges) > 1:
        raise InputError(
            f"{SETTINGS}: {_kind(image_processor)} crops to a square, not to {crop}: write "
            f'"crop_size": {{"shortest_edge": {min(edges)}}}'
        )
    if edges:
        image_processor.crop_size = {"shortest_edge": edges.pop()}


def _margin(image_processor: Any, side: int, crop: int) -> int:
    """Return the margin before a centre crop: below 0 where it crops, padding where the image is smaller.

    Of an odd number of pixels the smaller half comes first, except in processors that compute with NumPy.
    """
    if side >= crop:
        return -((side - crop) // 2)
    bases = {base.__name__ for base in type(image_processor).__mro__}
    return (crop - side + (not bases & {"TorchvisionBackend", "BaseImageProcessorFast"})) // 2


def _padding_is_known(image_processor: Any) -> bool:
    """Return whether it pads to a square first, to the largest of a batch (here all are equal), or to a size last."""
    if _kind(image_processor) in {_SQUARED, *_PADDED_TO_EACH_OTHER}:
        return True
    if getattr(image_processor, "do_center_crop", None):
        return False
    pad = getattr(type(image_processor), "pad", None)
    is_overridden = getattr(pad, "__module__", "transformers.models").startswith("transformers.models")
    return not is_overridden and {*sides_of(image_processor, "pad_size")} == {"height", "width"}


def _resized(image_processor: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width after the resize of an image of a (height, width)."""
    sides = sides_of(image_processor, "size")
    if "height" in sides:
        return sides["height"], sides["width"]
    if "max_height" in sides:
        from transformers.image_utils import get_image_size_for_max_height_width

        return tuple(get_image_size_for_max_height_width(size, sides["max_height"], sides["max_width"]))
    if "longest_edge" in sides:
        from transformers.image_transforms import get_size_with_aspect_ratio

        return tuple(get_size_with_aspect_ratio(size, sides["shortest_edge"], sides["longest_edge"]))
    short, edge = min(size), sides["shortest_edge"]
    if _kind(image_processor) not in _PADDED_TO_EACH_OTHER:
        rows, columns = (edge if side == short else int(edge * side / short) for side in size)
        return rows, columns
    scale = edge / short
    scale *= min(1.0, int(_LONGEST * edge) / (max(size) * scale))
    divisor = int(image_processor.size_divisor)
    rows, columns = (int(side * scale + 0.5) // divisor * divisor for side in size)
    if min(rows, columns) == 0:
        raise InputError(f"an image of {size[0]} x {size[1]} pixels is too long and narrow for this model: crop it")
    return rows, columns


def sides_of(image_processor: Any, name: str) -> dict[str, int]:
    """Return a size setting by the names of its sides; empty where there is none. A number is the shortest edge."""
    value = getattr(image_processor, name, None)
    if isinstance(value, int):
        return {"shortest_edge": value}
    return {key: int(side) for key, side in dict(value or {}).items() if side is not None}
