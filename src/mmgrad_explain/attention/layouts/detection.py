"""Find out where on the picture each part of a layer's output lies."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from mmgrad_explain.attention.layouts.layout import Kind, Layout
from mmgrad_explain.attention.modules import every_module, family, lineage
from mmgrad_explain.errors import InputError

# How many tokens may stand before the patches where the model does not say: class token, distillation, registers.
_USUAL_PREFIXES = (1, 0, 2, 5, 4, 3, 9, 8)
_MOST_PREFIX = 32
_SPATIAL = ("Conv2d", "BatchNorm2d", "InstanceNorm2d", "Pool2d", "GroupNorm", "Upsample", "PixelShuffle", "Norm2d")

# Parts of transformers' ViLT and ViTMAE.
_SHUFFLING = {"ViltEmbeddings", "ViTMAEEmbeddings"}


def infer_layout(
    activation: Tensor,
    *,
    module: nn.Module | None = None,
    model: nn.Module | None = None,
    image_size: tuple[int, int] | None = None,
    given: Layout | None = None,
) -> Layout:
    """Find out how a layer's output lies on the picture.

    Four dimensions are read as NCHW or NHWC: by the kind of module where that says it, else whichever has the picture's
    aspect ratio. Three dimensions are tokens: their grid is the picture's size over the model's patch size where both
    are known, else the model's own ``grid_size``, else the grid of the picture's aspect ratio that leaves a usual
    number of prefix tokens.

    Args:
        activation: The layer's output, (B, K, h, w), (B, h, w, K) or (B, N, K).
        module: The layer.
        model: The model around it.
        image_size: (H, W) in pixels of the picture it worked on.
        given: What is known already; only the rest is looked for.

    Returns:
        A complete layout.

    Raises:
        InputError: the output does not look like a grid, or not like one only.
    """
    shape = tuple(activation.shape)
    if model is not None and module is not None:
        around = lineage(family(model), module)
    else:
        around = [one for one in (module, model) if one is not None]
    if given is not None and given.kind != "tokens":
        return given
    if len(shape) == 4 and given is None:
        kind = _kind_of(shape, module, around, image_size)
        if kind is not None:
            return Layout(kind)
    if len(shape) == 3:
        _refuse_shuffled(around)
        asked = given or Layout("tokens")
        for grid, prefix in _token_grids(shape[1], around, image_size, asked):
            return replace(asked, grid=grid, prefix=prefix)
    seen = f" for pictures of {image_size[0]} x {image_size[1]} pixels" if image_size else ""
    raise InputError(
        f"layout: cannot tell how an output of shape {shape}{seen} lies on a grid; say so with layout='nchw', "
        "layout='nhwc', layout=Layout('tokens', grid=(h, w), prefix=k), or a callable that gives (B, K, h, w)"
    )


def _refuse_shuffled(around: Sequence[nn.Module]) -> None:
    inside = every_module(around[-1]) if around else ()
    shuffling = next((type(one).__name__ for one in inside if type(one).__name__ in _SHUFFLING), None)
    if shuffling is not None:
        raise InputError(
            f"layout: {shuffling} puts the patches in a random order at each forward, so that tokens have no place of "
            "their own: take the layer that cuts the patches (its patch_embeddings), or open the model with "
            "load_composer, which puts them back"
        )


def _kind_of(
    shape: Sequence[int], module: nn.Module | None, around: list[nn.Module], image_size: tuple[int, int] | None
) -> Kind | None:
    by_module = _kind_by_module(shape, module)
    if by_module is not None:
        return by_module
    first, last = _fits(shape[2:], image_size), _fits(shape[1:3], image_size)
    if first and last:
        hinted = next((fmt for m in around if (fmt := getattr(m, "output_fmt", None)) is not None), "")
        return "nhwc" if str(getattr(hinted, "value", hinted)).upper() == "NHWC" else "nchw"
    if first or last:
        return "nchw" if first else "nhwc"
    return None


def _kind_by_module(shape: Sequence[int], module: nn.Module | None) -> Kind | None:
    name = type(module).__name__
    channels: Any = None
    if isinstance(module, nn.Linear):
        channels = module.out_features
    elif name.endswith(_SPATIAL):
        return "nchw"
    elif isinstance(module, nn.LayerNorm):
        channels = module.normalized_shape[-1]
    if channels is None or (shape[1] == channels) == (shape[3] == channels):
        return None
    return "nhwc" if shape[3] == channels else "nchw"


def _fits(grid: Sequence[int], image_size: tuple[int, int] | None) -> bool:
    """Say whether a grid can be a picture divided by one stride, either side rounded by less than one cell."""
    height, width = grid
    if image_size is None:
        return height == width
    tall, wide = image_size
    if height > tall or width > wide:
        return False
    return abs(height - width * tall / wide) < 1 or abs(width - height * wide / tall) < 1


def _divides(grid: tuple[int, int], image_size: tuple[int, int] | None) -> bool:
    """Say whether a grid can be a picture cut into square patches of whole pixels, what is left over dropped."""
    height, width = grid
    if image_size is None:
        return height == width
    tall, wide = image_size
    return max(tall // (height + 1), wide // (width + 1)) < min(tall // height, wide // width)


def _token_grids(
    tokens: int, around: list[nn.Module], image_size: tuple[int, int] | None, asked: Layout
) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the (grid, prefix) readings of so many tokens, the surest first."""
    known = asked.prefix if asked.prefix is not None else _hinted_prefix(around)
    if asked.grid is not None:
        cells = math.prod(asked.grid)
        if asked.prefix is not None:
            yield asked.grid, asked.prefix
        elif 0 <= tokens - cells <= _MOST_PREFIX:
            yield asked.grid, tokens - cells
        return
    if any(map(_takes_any_shape, around)):
        grids = _hinted_grids(around, image_size) if image_size is not None else ()
        yield from ((grid, asked.prefix or 0) for grid in grids if math.prod(grid) <= tokens)
        return
    for grid in _hinted_grids(around, image_size):
        prefix = tokens - math.prod(grid)
        if prefix == known or (asked.prefix is None and 0 <= prefix <= _MOST_PREFIX):
            yield grid, prefix
    prefixes = [asked.prefix] if asked.prefix is not None else [known, *_USUAL_PREFIXES]
    for prefix in dict.fromkeys(p for p in prefixes if p is not None):
        for grid in _factor_pairs(tokens - prefix):
            if min(grid) > 1 and _divides(grid, image_size):
                yield grid, prefix


def _factor_pairs(cells: int) -> list[tuple[int, int]]:
    pairs = [(h, cells // h) for h in range(1, max(cells, 0) + 1) if cells % h == 0]
    return sorted(pairs, key=lambda pair: abs(math.log(pair[0] / pair[1])))


def _hinted_prefix(around: list[nn.Module]) -> int | None:
    for module in around:
        prefix = getattr(module, "num_prefix_tokens", None)
        if isinstance(prefix, int):
            return prefix
        if isinstance(registers := _setting(module, "num_register_tokens"), int):
            return 1 + registers
    return None


def _takes_any_shape(module: nn.Module) -> bool:
    """Say whether a model takes patches of pictures of any shape (NaFlex): no token before them, padding behind."""
    return _setting(module, "num_patches") is not None and _setting(module, "image_size") is None


def _hinted_grids(around: list[nn.Module], image_size: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
    """Yield the grids that the modules around a layer speak of, the innermost first."""
    for module in around:
        embed = getattr(module, "patch_embed", None)
        sizes = [_pair(getattr(embed, "patch_size", None)), _pair(_setting(module, "patch_size"))]
        sizes += [_pair(getattr(module, "patch_size", None)), _first_patch_convolution(module)]
        trained = _pair(_setting(module, "image_size"))
        for patch in filter(None, sizes):
            if image_size is not None:
                yield image_size[0] // patch[0], image_size[1] // patch[1]
                yield math.ceil(image_size[0] / patch[0]), math.ceil(image_size[1] / patch[1])
            elif trained is not None:
                yield trained[0] // patch[0], trained[1] // patch[1]
        grid = _pair(getattr(embed, "grid_size", None))
        if grid is not None and image_size is None:
            yield grid


def _setting(module: nn.Module, name: str) -> Any:
    config = getattr(module, "config", None)
    for part in (config, getattr(config, "vision_config", None)):
        if (value := getattr(part, name, None)) is not None:
            return value
    return None


def _first_patch_convolution(module: nn.Module) -> tuple[int, int] | None:
    for child in every_module(module):
        if isinstance(child, nn.Conv2d):
            whole = child.kernel_size == child.stride and min(child.stride) > 1
            return _pair(child.kernel_size) if whole else None
    return None


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value, value
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, int) and v > 0 for v in value):
        return value[0], value[1]
    return None
