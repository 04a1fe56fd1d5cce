"""Models that see an image as one square of patches (LLaVA-1.5, PaliGemma, Gemma 3): placement and layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.generative.model_parts import in_language_model, patches_along_side
from mmgrad_explain.composers.generative.token_grid import TokenGrid, make_cells, number_tiles
from mmgrad_explain.errors import InputError
from mmgrad_explain.images.processor_geometry import check_geometry, image_processor_of, place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mmgrad_explain.attention.layouts.layout import Cells
    from mmgrad_explain.composers.generative.family import Size
    from mmgrad_explain.images.placement import Placement


def place_in_square(processor: Any, original: Size, _tensors: Mapping[str, Tensor]) -> Placement:
    """Place an image that is perhaps padded to a square, then resized, then perhaps cropped.

    Raises:
        InputError: If the resize is of an unknown kind, or parts of the image are shown again (Gemma 3's pan and scan).
    """
    settings = image_processor_of(processor)
    if getattr(settings, "do_pan_and_scan", None):
        raise InputError("pan and scan shows parts of the image a second time: set do_pan_and_scan to false")
    check_geometry(settings)
    return place(settings, original)


def square_layout(model: Any, layer: str, tensors: Mapping[str, Tensor]) -> Cells:
    """Lay out one square of patches an image, row by row; Gemma 3's projector averages neighbouring patches."""
    config = model.config
    side = patches_along_side(config.vision_config)
    averaged = getattr(config, "mm_tokens_per_image", None)
    if averaged is not None and (in_language_model(layer) or layer.endswith("multi_modal_projector")):
        side = round(averaged**0.5)
    return make_cells(TokenGrid(number_tiles(side), side * side), config, layer, tensors)
