"""Where a picture lies in the frame that a generative model's image tokens cover: resizes, crops, padding, tiles.

Each function takes the model's processor, the picture's (height, width) and the tensors of that one picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement
from mmgrad_explain.images.processor_geometry import check_geometry, place, sides_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

Size = tuple[int, int]
_LARGEST = 4096  # Idefics3 never makes a side longer than that (transformers, MAX_IMAGE_SIZE)


def stretched(original: Size, frame: Size) -> Placement:
    """The whole picture, brought to a frame without regard to its shape."""
    return Placement(original, frame, (frame[0] / original[0], frame[1] / original[1]), (0.0, 0.0))


def one_square(processor: Any, original: Size, _tensors: Mapping[str, Tensor]) -> Placement:
    """A picture that is perhaps padded to a square, resized, and perhaps cropped (LLaVA-1.5, PaliGemma, Gemma 3).

    Raises:
        InputError: If it is resized in a way that is not known, or cut into further pictures (Gemma 3's pan and scan).
    """
    own = _image_part(processor)
    if getattr(own, "do_pan_and_scan", None):
        raise InputError("pan and scan shows parts of the picture a second time: set do_pan_and_scan to false")
    check_geometry(own)
    return place(own, original)


def patches(processor: Any, original: Size, tensors: Mapping[str, Tensor]) -> Placement:
    """A picture stretched to as many whole patches as its size asks for (Qwen-VL)."""
    _, rows, columns = tensors["image_grid_thw"][0].tolist()
    patch = int(_image_part(processor).patch_size)
    return stretched(original, (rows * patch, columns * patch))


def tiles_of_shape(processor: Any, original: Size, tensors: Mapping[str, Tensor]) -> Size:
    """Rows and columns of the tiles that a picture is stretched to by its shape (InternVL).

    Raises:
        InputError: If that is not the number of tiles that are there.
    """
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    count = len(tensors["pixel_values"])
    if count == 1:
        return 1, 1
    own, tile = _image_part(processor), sides_of(_image_part(processor), "size")
    columns, rows = get_optimal_tiled_canvas(
        original, (tile["height"], tile["width"]), int(own.min_patches), int(own.max_patches)
    )
    return _checked((int(rows), int(columns)), count)


def tiles_of_size(processor: Any, original: Size, tensors: Mapping[str, Tensor]) -> Size:
    """Rows and columns of the tiles that a picture of its size is cut into (Idefics3, SmolVLM).

    Raises:
        InputError: If that is not the number of tiles that are there.
    """
    count, tile = tensors["pixel_values"].shape[1], sides_of(_image_part(processor), "max_image_size")["longest_edge"]
    if count == 1:
        return 1, 1
    height, width = original
    if getattr(_image_part(processor), "do_resize", None):
        height, width = _to_longest(original, sides_of(_image_part(processor), "size")["longest_edge"])
    shape = width / height
    if width >= height:
        columns = math.ceil(width / tile)
        rows = math.ceil(int(columns * tile / shape) / tile)
    else:
        rows = math.ceil(height / tile)
        columns = math.ceil(int(rows * tile * shape) / tile)
    return _checked((rows, columns), count)


def tiled(processor: Any, original: Size, tensors: Mapping[str, Tensor]) -> Placement:
    """A picture stretched to whole tiles, as many as ``tensors["tiles"]`` says."""
    rows, columns = tensors["tiles"][0].tolist()
    size = sides_of(_image_part(processor), "max_image_size") or sides_of(_image_part(processor), "size")
    longest = size.get("longest_edge", 0)
    return stretched(original, (rows * size.get("height", longest), columns * size.get("width", longest)))


def in_own_shape(processor: Any, original: Size, _tensors: Mapping[str, Tensor]) -> Placement:
    """A picture resized to fit tiles and padded, the padding dropped again (LLaVA-NeXT, LLaVA-OneVision)."""
    own = _image_part(processor)
    crop, size = sides_of(own, "crop_size"), sides_of(own, "size")
    tile = crop.get("height") or size.get("height") or size["shortest_edge"]
    patch = getattr(processor, "patch_size", None)
    side = tile // int(patch) if patch else math.isqrt(int(processor.num_image_tokens))
    return any_resolution(original, own.image_grid_pinpoints, tile, side).placement


def _checked(tiles: Size, count: int) -> Size:
    if math.prod(tiles) + 1 != count:
        raise InputError(
            f"the picture comes in {count} parts where its size says {tiles[0]} x {tiles[1]} tiles and the whole: "
            "where they lie cannot be told"
        )
    return tiles


def _to_longest(original: Size, longest: int) -> Size:
    """Idefics3's resize of the longest edge: the other side made even, neither longer than the largest allowed."""
    height, width = original
    shape = width / height
    if width >= height:
        height, width = int(longest / shape), longest
        height += height % 2
    else:
        height, width = longest, int(longest * shape)
        width += width % 2
    shape = width / height
    if max(height, width) > _LARGEST:
        height, width = (int(_LARGEST / shape), _LARGEST) if width >= height else (_LARGEST, int(_LARGEST * shape))
    return max(height, 1), max(width, 1)


@dataclass(frozen=True)
class AnyRes:
    """How LLaVA-NeXT shows a picture in tiles, in its own shape.

    Attributes:
        tiles: Rows and columns of tiles.
        dropped: How many rows of cells at the top and bottom each, and columns at the left and right each, are padding
            that the model drops.
        placement: Where the picture lies in what is left, in pixels.
        window: The same in cells: top, bottom, left, right.
    """

    tiles: Size
    dropped: Size
    placement: Placement
    window: tuple[float, float, float, float]


def any_resolution(original: Size, resolutions: Sequence[Sequence[int]], tile: int, side: int) -> AnyRes:
    """Find how a picture is shown in tiles (LLaVA-NeXT, Liu et al. 2024; LLaVA-OneVision, arXiv 2408.03326).

    Of the allowed resolutions the one is taken that shows the picture largest; the picture is resized to fit and
    padded evenly. Of its cells, those rows or columns that the picture's shape leaves empty are dropped.

    Args:
        original: The picture's (height, width).
        resolutions: Those allowed, (height, width) of whole tiles.
        tile: Pixels along a tile's side.
        side: Cells along a tile's side.
    """
    from transformers.image_processing_utils import select_best_resolution

    target = [int(length) for length in select_best_resolution(original, [list(one) for one in resolutions])]
    ratios = target[0] / original[0], target[1] / original[1]
    fixed = 1 if ratios[1] < ratios[0] else 0  # the axis that the picture fills
    other = 1 - fixed
    shown, cells = list(target), [length // tile * side for length in target]
    shown[other] = min(math.ceil(original[other] * ratios[fixed]), target[other])
    dropped = [0, 0]
    # The model asks again, by the shapes and in cells, which axis the picture fills.
    filled = 1 if original[1] / original[0] > cells[1] / cells[0] else 0
    empty = 1 - filled
    seen = int(round(original[empty] * (cells[filled] / original[filled]), 7))
    dropped[empty] = (cells[empty] - seen) // 2
    kept = [count - 2 * drop for count, drop in zip(cells, dropped, strict=True)]
    cell = tile / side
    frame = [round(count * cell) for count in kept]
    # A frame has whole pixels: where a cell has not, the frame is stretched by less than a pixel.
    stretch = [length / (count * cell) for length, count in zip(frame, kept, strict=True)]
    start = [(whole - part) // 2 - drop * cell for whole, part, drop in zip(target, shown, dropped, strict=True)]
    scale = [part / own * more for part, own, more in zip(shown, original, stretch, strict=True)]
    offset = [first * more for first, more in zip(start, stretch, strict=True)]
    (top, left), (height, width) = ([length / cell for length in one] for one in (start, shown))
    return AnyRes(
        (target[0] // tile, target[1] // tile),
        (dropped[0], dropped[1]),
        Placement(original, (frame[0], frame[1]), (scale[0], scale[1]), (offset[0], offset[1])),
        (top, top + height, left, left + width),
    )


def _image_part(processor: Any) -> Any:
    return getattr(processor, "image_processor", processor)
