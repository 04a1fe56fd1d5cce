"""Qwen2-VL (arXiv 2409.12191), Qwen2.5-VL (arXiv 2502.13923), Qwen3-VL: as many patches as the image's size needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.generative.family import GenerativeCheckpoint, GenerativeFamily
from mmgrad_explain.composers.generative.model_parts import in_connector, in_language_model, shared_row
from mmgrad_explain.composers.generative.placements import stretch
from mmgrad_explain.composers.generative.token_grid import TokenGrid, make_cells
from mmgrad_explain.images.processor_geometry import image_processor_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mmgrad_explain.attention.layouts.layout import Cells
    from mmgrad_explain.composers.generative.family import Size
    from mmgrad_explain.images.placement import Placement


def place_in_patches(processor: Any, original: Size, tensors: Mapping[str, Tensor]) -> Placement:
    """Place an image that is stretched to whole patches, as many as its size asks for."""
    _, rows, columns = tensors["image_grid_thw"][0].tolist()
    patch = int(image_processor_of(processor).patch_size)
    return stretch(original, (rows * patch, columns * patch))


def packed_layout(model: Any, layer: str, tensors: Mapping[str, Tensor]) -> Cells:
    """Lay out the patches of all images in one sequence, in blocks that the merger makes one token each.

    Qwen2.5-VL sorts the blocks into windows inside its vision tower: after the patch embedding, up to and including the
    merger.
    """
    _, rows, columns = shared_row(tensors["image_grid_thw"], "image_grid_thw")
    vision = model.config.vision_config
    side = int(vision.spatial_merge_size)
    grid = torch.arange(rows * columns // side**2).reshape(rows // side, columns // side)
    has_windows = hasattr(vision, "fullatt_block_indexes")
    if has_windows and not in_language_model(layer) and "patch_embed" not in layer.split("."):
        grid = _number_by_windows(
            (rows // side, columns // side), int(vision.window_size) // side // int(vision.patch_size)
        )
    if not in_language_model(layer) and not in_connector(layer):
        inside = torch.arange(side * side).reshape(side, side)
        grid = grid[:, None, :, None] * side**2 + inside[None, :, None, :]
        grid = grid.reshape(rows, columns)
    return make_cells(TokenGrid(grid, grid.numel()), model.config, layer, tensors)


def _number_by_windows(shape: Size, window: int) -> Tensor:
    """Number the blocks of a grid window by window instead of row by row."""
    rows, columns = shape
    down, across = torch.arange(rows)[:, None], torch.arange(columns)
    windows_in_row = -(-columns // window)
    window_of = (down // window) * windows_in_row + across // window
    # Within a window, and from window to window, the order stays row by row.
    order = torch.argsort(window_of.flatten(), stable=True)
    return torch.argsort(order).reshape(rows, columns)


def _family(
    title: str, model_class: str, hub_id: str, patch: int = 14, pixels: Size = (3136, 12845056)
) -> GenerativeFamily:
    least, most = pixels
    settings = {"patch_size": patch, "min_pixels": least, "max_pixels": most}
    return GenerativeFamily(
        title,
        model_class,
        always("model.visual.merger"),
        packed_layout,
        place_in_patches,
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n",
        GenerativeCheckpoint(hub_id, "Qwen2VLImageProcessor", settings),
        image_tensors=("pixel_values", "image_grid_thw"),
        types={"mm_token_type_ids": 0},
    )


FAMILIES = {
    "qwen2_vl": _family("Qwen2-VL", "Qwen2VLForConditionalGeneration", "Qwen/Qwen2-VL-7B-Instruct"),
    "qwen2_5_vl": _family("Qwen2.5-VL", "Qwen2_5_VLForConditionalGeneration", "Qwen/Qwen2.5-VL-7B-Instruct"),
    # Three earlier vision blocks (deepstack) also feed the first language layers, past the merger: a map of the merger
    # together with model.visual.deepstack_merger_list.0 to .2 has everything.
    "qwen3_vl": _family(
        "Qwen3-VL", "Qwen3VLForConditionalGeneration", "Qwen/Qwen3-VL-8B-Instruct", 16, (65536, 16777216)
    ),
}
