"""InternVL (arXiv 2412.05271, 2504.10479) as transformers has it: tiles and the whole image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.generative.family import GenerativeCheckpoint, GenerativeFamily
from mmgrad_explain.composers.generative.shuffled_tiles import check_tile_count, place_in_tiles, shuffled_tiles_layout
from mmgrad_explain.images.processor_geometry import image_processor_of, sides_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mmgrad_explain.composers.generative.family import Size


def tiles_by_shape(processor: Any, original: Size, tensors: Mapping[str, Tensor]) -> Size:
    """Find the rows and columns of tiles that an image is stretched to because of its shape.

    Raises:
        InputError: If the tensors hold another number of tiles.
    """
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    count = len(tensors["pixel_values"])
    if count == 1:
        return 1, 1
    settings = image_processor_of(processor)
    tile = sides_of(settings, "size")
    columns, rows = get_optimal_tiled_canvas(
        original, (tile["height"], tile["width"]), int(settings.min_patches), int(settings.max_patches)
    )
    return check_tile_count((int(rows), int(columns)), count)


FAMILIES = {
    "internvl": GenerativeFamily(
        "InternVL",
        "InternVLForConditionalGeneration",
        always("model.multi_modal_projector"),
        shuffled_tiles_layout,
        place_in_tiles,
        "<|im_start|>user\n<IMG_CONTEXT>\n{question}<|im_end|>\n<|im_start|>assistant\n",
        GenerativeCheckpoint(
            "OpenGVLab/InternVL3-8B-hf",
            "GotOcr2ImageProcessor",
            {"size": {"height": 448, "width": 448}, "crop_to_patches": True},
        ),
        tiles=tiles_by_shape,
    ),
}
