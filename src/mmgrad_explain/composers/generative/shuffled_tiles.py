"""Models that see an image as tiles and then as a whole (Idefics3, SmolVLM, InternVL): placement and layout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.generative.model_parts import (
    in_connector,
    in_language_model,
    patches_along_side,
    shared_row,
)
from mmgrad_explain.composers.generative.placements import stretch
from mmgrad_explain.composers.generative.token_grid import TokenGrid, make_cells, number_tiles
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.processor_geometry import image_processor_of, sides_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mmgrad_explain.attention.layouts.layout import Cells
    from mmgrad_explain.composers.generative.family import Size
    from mmgrad_explain.images.placement import Placement


def place_in_tiles(processor: Any, original: Size, tensors: Mapping[str, Tensor]) -> Placement:
    """Place an image that is stretched to whole tiles, as many as ``tensors["tiles"]`` (1, 2) gives."""
    rows, columns = tensors["tiles"][0].tolist()
    settings = image_processor_of(processor)
    size = sides_of(settings, "max_image_size") or sides_of(settings, "size")
    longest = size.get("longest_edge", 0)
    return stretch(original, (rows * size.get("height", longest), columns * size.get("width", longest)))


def check_tile_count(tiles: Size, count: int) -> Size:
    """Compare rows and columns of tiles with the number of parts in the tensors, the whole image being one more.

    Raises:
        InputError: If they do not fit.
    """
    if math.prod(tiles) + 1 != count:
        raise InputError(
            f"the processor gives the image in {count} parts, its size asks for {tiles[0]} x {tiles[1]} tiles and the "
            "whole: where the parts lie is not known"
        )
    return tiles


def shuffled_tiles_layout(model: Any, layer: str, tensors: Mapping[str, Tensor]) -> Cells:
    """Lay out tiles row by row and then the whole image; several patches make a token.

    ``tensors["tiles"]`` (B, 2) has the rows and columns of tiles.
    """
    config, (rows, columns) = model.config, shared_row(tensors["tiles"], "tiles")
    factor = getattr(config, "scale_factor", None) or round(1 / config.downsample_ratio)
    shuffled = in_language_model(layer) or in_connector(layer)
    side = patches_along_side(config.vision_config) // (int(factor) if shuffled else 1)
    count = rows * columns * side * side
    whole = number_tiles(side, first=count) if rows * columns > 1 else None
    tokens = count + (0 if whole is None else whole.numel())
    return make_cells(TokenGrid(number_tiles(side, rows, columns), tokens, whole), config, layer, tensors)
