"""How the layers of generative vision-language models lie on the pictures, family by family.

Each function takes the model of transformers, a layer's dotted name in it and the tensors of the call, and gives
:class:`~mmgrad_explain.attention.layouts.layout.Cells`. Layers of the vision tower, of what joins it to the language
model, and of the language model are known; in the language model the picture's tokens are looked for among those of
the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.composers.generative.cells import Places, merged, tiled, to_cells
from mmgrad_explain.composers.generative.frames import AnyRes, any_resolution
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.attention.layouts.layout import Cells

_LANGUAGE = {"language_model", "text_model"}
_JOINT = {"multi_modal_projector", "connector", "merger", "deepstack_merger_list"}


def square(model: Any, layer: str, tensors: Mapping[str, Tensor]) -> Cells:
    """One square of patches a picture, row by row (LLaVA-1.5, PaliGemma, Gemma 3, whose projector averages patches)."""
    config = model.config
    side = _side(config.vision_config)
    pooled = getattr(config, "mm_tokens_per_image", None)
    if pooled is not None and (_in_language(layer) or layer.endswith("multi_modal_projector")):
        side = round(pooled**0.5)
    places = Places(tiled(side), side * side)
    return to_cells(places, len(tensors["input_ids"]), layer, _slots(config, layer, tensors, places.tokens))


def shuffled_tiles(model: Any, layer: str, tensors: Mapping[str, Tensor]) -> Cells:
    """Tiles row by row and then the whole picture; several patches make a token (Idefics3, SmolVLM, InternVL).

    ``tensors["tiles"]`` (B, 2) says how many rows and columns of tiles there are.
    """
    config, (rows, columns) = model.config, _one(tensors["tiles"], "tiles")
    factor = getattr(config, "scale_factor", None) or round(1 / config.downsample_ratio)
    shuffled = _in_language(layer) or bool(_JOINT & set(layer.split(".")))
    side = _side(config.vision_config) // (int(factor) if shuffled else 1)
    count = rows * columns * side * side
    whole = tiled(side, first=count) if rows * columns > 1 else None
    places = Places(tiled(side, rows, columns), count + (0 if whole is None else whole.numel()), whole)
    return to_cells(places, len(tensors["input_ids"]), layer, _slots(config, layer, tensors, places.tokens))


def any_resolution_tiles(model: Any, layer: str, tensors: Mapping[str, Tensor]) -> Cells:
    """The whole picture, then tiles of it in its own shape, whose padding the model drops (LLaVA-NeXT, -OneVision).

    The map covers the cells that are left. The whole picture is shown stretched to a square: what its cells say comes
    to the part of the frame in which the picture lies.
    """
    config = model.config
    tile, side = _pixels(config.vision_config), _side(config.vision_config)
    shown = _shown_alike(tensors["image_sizes"], config.image_grid_pinpoints, tile, side)
    slots = None
    if _in_language(layer):
        places = _with_line_ends(shown, side, getattr(config, "vision_aspect_ratio", None))
        slots = _slots(config, layer, tensors, places.tokens)
    else:
        (rows, columns), (down, across) = shown.tiles, shown.dropped
        numbers = tiled(side, rows, columns, first=side * side)
        kept = numbers[down : len(numbers) - down, across : numbers.shape[1] - across]
        places = Places(kept, (rows * columns + 1) * side * side, tiled(side), shown.window)
    return to_cells(places, len(tensors["input_ids"]), layer, slots)


def _shown_alike(sizes: Tensor, resolutions: Sequence[Sequence[int]], tile: int, side: int) -> AnyRes:
    """How pictures of these (height, width) are shown in tiles.

    Raises:
        InputError: If not in the same way.
    """
    first, *others = [any_resolution((height, width), resolutions, tile, side) for height, width in sizes.tolist()]
    if any((one.tiles, one.dropped, one.window) != (first.tiles, first.dropped, first.window) for one in others):
        listed = ", ".join(f"{height} x {width}" for height, width in sizes.tolist())
        raise InputError(f"pictures of {listed} pixels lie differently in their tiles: explain them one at a time")
    return first


def _with_line_ends(shown: AnyRes, side: int, most: str | None) -> Places:
    """As the language model reads them: the whole picture, then the kept rows of cells, each with a line end.

    LLaVA-OneVision resizes the cells where there are more than in so many tiles (``anyres_max_9``).
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
    return Places(numbers, side * side + rows * (columns + 1), tiled(side), window)


def packed(model: Any, layer: str, tensors: Mapping[str, Tensor]) -> Cells:
    """Patches of all pictures in one sequence, in blocks that are merged to one token (Qwen2-VL, Qwen3-VL).

    Qwen2.5-VL sorts the blocks into windows inside its vision tower: after its patch embedding, up to and including
    its merger.
    """
    _, rows, columns = _one(tensors["image_grid_thw"], "image_grid_thw")
    vision, parts = model.config.vision_config, set(layer.split("."))
    side = int(vision.spatial_merge_size)
    blocks = torch.arange(rows * columns // side**2).reshape(rows // side, columns // side)
    if hasattr(vision, "fullatt_block_indexes") and not _in_language(layer) and "patch_embed" not in parts:
        blocks = _windowed(blocks, int(vision.window_size) // side // int(vision.patch_size))
    grid = blocks
    if not _in_language(layer) and not _JOINT & parts:
        within = merged(side, side, side)
        grid = blocks[:, None, :, None] * side**2 + within[None, :, None, :]
        grid = grid.reshape(rows, columns)
    places = Places(grid, grid.numel())
    return to_cells(places, len(tensors["input_ids"]), layer, _slots(model.config, layer, tensors, places.tokens))


def _windowed(blocks: Tensor, window: int) -> Tensor:
    """Number the blocks of a grid window by window instead of row by row."""
    rows, columns = blocks.shape
    down, across = torch.arange(rows)[:, None], torch.arange(columns)
    wide = -(-columns // window)
    window_of = (down // window) * wide + across // window
    # Within a window, and between windows, the order of the rows is kept.
    order = torch.argsort(window_of.flatten(), stable=True)
    return torch.argsort(order).reshape(rows, columns)


def _in_language(layer: str) -> bool:
    return bool(_LANGUAGE & set(layer.split(".")))


def _pixels(vision: Any) -> int:
    size = vision.image_size
    return int(size if isinstance(size, int) else size[0])


def _side(vision: Any) -> int:
    """Patches along the side of the square that the vision tower sees."""
    patch = vision.patch_size
    return _pixels(vision) // int(patch if isinstance(patch, int) else patch[0])


def _one(values: Tensor, name: str) -> tuple[int, ...]:
    """What all pictures have in common.

    Raises:
        InputError: If they differ.
    """
    rows = {tuple(row) for row in values.tolist()}
    if len(rows) != 1:
        raise InputError(
            f"the pictures have different {name} ({', '.join(map(str, sorted(rows)))}): explain them one at a time"
        )
    return tuple(int(value) for value in rows.pop())


def _slots(config: Any, layer: str, tensors: Mapping[str, Tensor], tokens: int) -> Tensor | None:
    """Where each picture's tokens stand in the sequence that the language model reads; None for other layers.

    Raises:
        InputError: If they are not as many as the picture has.
    """
    if not _in_language(layer):
        return None
    is_image: Tensor = tensors["input_ids"] == config.image_token_id
    counts = is_image.sum(1).tolist()
    if set(counts) != {tokens}:
        raise InputError(
            f"the prompts have {', '.join(map(str, sorted(set(counts))))} image tokens where the picture has {tokens}"
        )
    return is_image.nonzero()[:, 1].reshape(len(counts), tokens)
