"""Idefics3 (arXiv 2408.12637) and SmolVLM (arXiv 2504.05299): tiles and the whole image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.generative.family import GenerativeCheckpoint, GenerativeFamily
from mmgrad_explain.composers.generative.shuffled_tiles import check_tile_count, place_in_tiles, shuffled_tiles_layout
from mmgrad_explain.images.processor_geometry import image_processor_of, sides_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mmgrad_explain.composers.generative.family import Size

_LARGEST_SIDE = 4096  # pixels; no image is made larger (MAX_IMAGE_SIZE in transformers)


def tiles_by_size(processor: Any, original: Size, tensors: Mapping[str, Tensor]) -> Size:
    """Find the rows and columns of tiles that an image of this size is cut into.

    Raises:
        InputError: If the tensors hold another number of tiles.
    """
    settings = image_processor_of(processor)
    count, tile = tensors["pixel_values"].shape[1], sides_of(settings, "max_image_size")["longest_edge"]
    if count == 1:
        return 1, 1
    height, width = original
    if getattr(settings, "do_resize", None):
        height, width = _resize_longest(original, sides_of(settings, "size")["longest_edge"])
    ratio = width / height
    if width >= height:
        columns = math.ceil(width / tile)
        rows = math.ceil(int(columns * tile / ratio) / tile)
    else:
        rows = math.ceil(height / tile)
        columns = math.ceil(int(rows * tile * ratio) / tile)
    return check_tile_count((rows, columns), count)


def _resize_longest(original: Size, longest: int) -> Size:
    """Resize the longest edge as the processor does: the other one becomes even, neither larger than allowed."""
    height, width = original
    ratio = width / height
    if width >= height:
        height, width = int(longest / ratio), longest
        height += height % 2
    else:
        height, width = longest, int(longest * ratio)
        width += width % 2
    ratio = width / height
    if max(height, width) > _LARGEST_SIDE:
        wide = width >= height
        height, width = (
            (int(_LARGEST_SIDE / ratio), _LARGEST_SIDE) if wide else (_LARGEST_SIDE, int(_LARGEST_SIDE * ratio))
        )
    return max(height, 1), max(width, 1)


def _family(title: str, model_class: str, start: str, checkpoint: GenerativeCheckpoint) -> GenerativeFamily:
    return GenerativeFamily(
        title,
        model_class,
        always("model.connector"),
        shuffled_tiles_layout,
        place_in_tiles,
        start + "User:<image>{question}<end_of_utterance>\nAssistant:",
        checkpoint,
        image_tensors=("pixel_values", "pixel_attention_mask"),
        tiles=tiles_by_size,
    )


FAMILIES = {
    "idefics3": _family(
        "Idefics3",
        "Idefics3ForConditionalGeneration",
        "<|begin_of_text|>",
        GenerativeCheckpoint(
            "HuggingFaceM4/Idefics3-8B-Llama3",
            "Idefics3ImageProcessor",
            {"size": {"longest_edge": 1456}, "max_image_size": {"longest_edge": 364}},
            {"vision_config": {"image_size": 364, "patch_size": 14}},
        ),
    ),
    "smolvlm": _family(
        "SmolVLM",
        "SmolVLMForConditionalGeneration",
        "<|im_start|>",
        GenerativeCheckpoint(
            "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
            "SmolVLMImageProcessor",
            {"size": {"longest_edge": 1536}, "max_image_size": {"longest_edge": 384}},
            {"vision_config": {"image_size": 384, "patch_size": 14}, "scale_factor": 3},
        ),
    ),
}
