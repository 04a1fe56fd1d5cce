"""LLaVA-NeXT (Liu et al. 2024) and LLaVA-OneVision (arXiv 2408.03326): an image in tiles, in its own shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.generative.family import GenerativeCheckpoint, GenerativeFamily
from mmgrad_explain.composers.generative.model_parts import image_side, in_language_model, patches_along_side
from mmgrad_explain.composers.generative.token_grid import TokenGrid, make_cells, number_tiles
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.placement import Placement
from mmgrad_explain.images.processor_geometry import image_processor_of, sides_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.attention.layouts.layout import Cells
    from mmgrad_explain.composers.generative.family import Size


@dataclass(frozen=True)
class AnyResolution:
    """How an image is shown in tiles, in its own shape.

    Attributes:
        tiles: Rows and columns of tiles.
        dropped: Rows of cells at the top and at the bottom each, and columns at the left and at the right each, that
            are padding and that the model drops.
        placement: Where the image lies in the rest, in pixels.
        window: The same in cells: top, bottom, left, right.
    """

    tiles: Size
    dropped: Size
    placement: Placement
    window: tuple[float, float, float, float]


def find_any_resolution(original: Size, resolutions: Sequence[Sequence[int]], tile: int, side: int) -> AnyResolution:
    """Find how an image is shown in tiles.

    The model takes the allowed resolution that shows the image largest, resizes the image to fit it and pads it evenly.
    It drops the rows or columns of cells that the image's shape leaves empty.

    Args:
        original: The image's (height, width).
        resolutions: The allowed ones, (height, width) of whole tiles.
        tile: Pixels along a tile's side.
        side: Cells along a tile's side.
    """
    from transformers.image_processing_utils import select_best_resolution

    target = [int(length) for length in select_best_resolution(original, [list(one) for one in resolutions])]
    ratios = target[0] / original[0], target[1] / original[1]
    filled = 1 if ratios[1] < ratios[0] else 0  # the axis that the image fills
    other = 1 - filled
    resized, cells = list(target), [length // tile * side for length in target]
    resized[other] = min(math.ceil(original[other] * ratios[filled]), target[other])
    dropped = [0, 0]
    # The model asks again, by the shapes and in cells, which axis the image fills.
    filled = 1 if original[1] / original[0] > cells[1] / cells[0] else 0
    empty = 1 - filled
    shown = int(round(original[empty] * (cells[filled] / original[filled]), 7))
    dropped[empty] = (cells[empty] - shown) // 2
    kept = [count - 2 * drop for count, drop in zip(cells, dropped, strict=True)]
    cell = tile / side
    frame = [round(count * cell) for count in kept]
    # A frame has whole pixels; if a cell has not, the frame is stretched by less than a pixel.
    stretch = [length / (count * cell) for length, count in zip(frame, kept, strict=True)]
    start = [(whole - part) // 2 - drop * cell for whole, part, drop in zip(target, resized, dropped, strict=True)]
    scale = [part / length * more for part, length, more in zip(resized, original, stretch, strict=True)]
    offset = [first * more for first, more in zip(start, stretch, strict=True)]
    (top, left), (height, width) = ([length / cell for length in pair] for pair in (start, resized))
    return AnyResolution(
        (target[0] // tile, target[1] // tile),
        (dropped[0], dropped[1]),
        Placement(original, (frame[0], frame[1]), (scale[0], scale[1]), (offset[0], offset[1])),
        (top, top + height, left, left + width),
    )


def place_in_own_shape(processor: Any, original: Size, _tensors: Mapping[str, Tensor]) -> Placement:
    """Place an image that is resized to fit tiles and padded; the padding is dropped later."""
    settings = image_processor_of(processor)
    crop, size = sides_of(settings, "crop_size"), sides_of(settings, "size")
    tile = crop.get("height") or size.get("height") or size["shortest_edge"]
    patch = getattr(processor, "patch_size", None)
    side = tile // int(patch) if patch else math.isqrt(int(processor.num_image_tokens))
    return find_any_resolution(original, settings.image_grid_pinpoints, tile, side).placement


def any_resolution_layout(model: Any, layer: str, tensors: Mapping[str, Tensor]) -> Cells:
    """Lay out the whole image, then its tiles in its own shape without the padding that the model drops.

    The map covers the cells that are left. The whole image is stretched to a square; the values of its cells count for
    the part of the frame in which the image lies.
    """
    config = model.config
    tile, side = image_side(config.vision_config), patches_along_side(config.vision_config)
    shown = _shared_resolution(tensors["image_sizes"], config.image_grid_pinpoints, tile, side)
    if in_language_model(layer):
        grid = _grid_with_line_ends(shown, side, getattr(config, "vision_aspect_ratio", None))
    else:
        (rows, columns), (down, across) = shown.tiles, shown.dropped
        numbers = number_tiles(side, rows, columns, first=side * side)
        kept = numbers[down : len(numbers) - down, across : numbers.shape[1] - across]
        grid = TokenGrid(kept, (rows * columns + 1) * side * side, number_tiles(side), shown.window)
    return make_cells(grid, config, layer, tensors)


def _shared_resolution(sizes: Tensor, resolutions: Sequence[Sequence[int]], tile: int, side: int) -> AnyResolution:
    """Find how images of these (height, width) are shown in tiles.

    Raises:
        InputError: If they are not shown alike.
    """
    first, *others = [find_any_resolution((height, width), resolutions, tile, side) for height, width in sizes.tolist()]
    if any((one.tiles, one.dropped, one.window) != (first.tiles, first.dropped, first.window) for one in others):
        listed = ", ".join(f"{height} x {width}" for height, width in sizes.tolist())
        raise InputError(f"images of {listed} pixels lie differently in their tiles: explain them one at a time")
    return first


def _grid_with_line_ends(shown: AnyResolution, side: int, most: str | None) -> TokenGrid:
    """Number the tokens that the language model reads: the whole image, then each kept row of cells with a line end.

    LLaVA-OneVision resizes the cells if they are more than those of so many tiles (``anyres_max_9``).
    """
    kept = [tiles * side - 2 * drop for tiles, drop in zip(shown.tiles, shown.dropped, strict=True)]
    window = shown.window
    if most is not None:
        ratio = (kept[0] * kept[1] / (int(most.removeprefix("anyres_max_")) * side**2)) ** 0.5
        if ratio > 1.1:
            fewer = [int(length // ratio) for length in kept]
            down, across = (new / old for new, old in zip(fewer, kept, strict=True))
            window = (window[0] * down, window[1] * down, window[2] * across, window[3] * across)
            kept = fewer
    rows, columns = kept
    numbers = torch.arange(rows * (columns + 1)).reshape(rows, columns + 1)[:, :-1] + side * side
    return TokenGrid(numbers, side * side + rows * (columns + 1), number_tiles(side), window)


def _family(title: str, model_class: str, prompt: str, checkpoint: GenerativeCheckpoint) -> GenerativeFamily:
    return GenerativeFamily(
        title,
        model_class,
        always("model.multi_modal_projector"),
        any_resolution_layout,
        place_in_own_shape,
        prompt,
        checkpoint,
        image_tensors=("pixel_values", "image_sizes"),
    )


_NEXT_SIZES = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
_ONEVISION_SIZES = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]

FAMILIES = {
    "llava_next": _family(
        "LLaVA-NeXT (1.6)",
        "LlavaNextForConditionalGeneration",
        "[INST] <image>\n{question} [/INST]",
        GenerativeCheckpoint(
            "llava-hf/llava-v1.6-mistral-7b-hf",
            "LlavaNextImageProcessor",
            {
                "size": {"shortest_edge": 336},
                "crop_size": {"height": 336, "width": 336},
                "image_grid_pinpoints": _NEXT_SIZES,
            },
            {
                "vision_config": {"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14},
                "image_grid_pinpoints": _NEXT_SIZES,
            },
        ),
    ),
    "llava_onevision": _family(
        "LLaVA-OneVision",
        "LlavaOnevisionForConditionalGeneration",
        "<|im_start|>user <image>\n{question}<|im_end|><|im_start|>assistant\n",
        GenerativeCheckpoint(
            "llava-hf/llava-onevision-qwen2-7b-ov-hf",
            "LlavaOnevisionImageProcessor",
            {"size": {"height": 384, "width": 384}, "image_grid_pinpoints": _ONEVISION_SIZES},
            {
                "vision_config": {"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14},
                "image_grid_pinpoints": _ONEVISION_SIZES,
            },
        ),
    ),
}
