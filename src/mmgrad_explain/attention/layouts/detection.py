"""Infer the layout of a layer's output from its shape, its module and the modules around it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from mmgrad_explain.attention.layouts.layout import Layout, LayoutKind
from mmgrad_explain.attention.running.modules import every_module, list_parents, map_parents
from mmgrad_explain.errors import InputError

# How many tokens may stand before the patches where the model does not say: class token, distillation, registers.
_USUAL_PREFIXES = (1, 0, 2, 5, 4, 3, 9, 8)
_MOST_PREFIX = 32
_SPATIAL = ("Conv2d", "BatchNorm2d", "InstanceNorm2d", "Pool2d", "GroupNorm", "Upsample", "PixelShuffle", "Norm2d")

# Modules of transformers' ViLT and ViTMAE.
_SHUFFLING = {"ViltEmbeddings", "ViTMAEEmbeddings"}


def infer_layout(
    activation: Tensor,
    *,
    module: nn.Module | None = None,
    model: nn.Module | None = None,
    image_size: tuple[int, int] | None = None,
    given: Layout | None = None,
) -> Layout:
    """Infer how a layer's output lies on the image.

    Four dimensions are read as NCHW or NHWC: by the kind of module if that decides it, else by the aspect ratio of the
    image. Three dimensions are read as tokens. Their grid is the size of the image over the patch size of the model if
    both are known, else the model's own ``grid_size``, else the grid with the aspect ratio of the image that leaves a
    usual number of prefix tokens.

    Args:
        activation: The layer's output, (B, K, h, w), (B, h, w, K) or (B, N, K).
        module: The layer.
        model: The model around it.
        image_size: (H, W) in pixels of the image that it worked on.
        given: What is known already; only the rest is inferred.

    Returns:
        A complete layout.

    Raises:
        InputError: the output does not look like a grid, or like several.
    """
    options: dict[str, Any] = {"module": module, "model": model, "image_size": image_size, "given": given}
    layout = detect_layout(activation, **options)
    if layout is not None:
        return layout
    shuffling = _find_shuffling(_list_around(module, model)) if activation.ndim == 3 else None
    if shuffling is not None:
        raise InputError(
            f"layout: {shuffling} puts the patches in a random order at each forward, so that tokens have no place of "
            "their own: take the layer that cuts the patches (its patch_embeddings), or open the model with "
            "load_composer, which puts them back"
        )
    of_images = f" for images of {image_size[0]} x {image_size[1]} pixels" if image_size else ""
    raise InputError(
        f"layout: cannot tell how an output of shape {tuple(activation.shape)}{of_images} lies on a grid; name it with "
        "layout='nchw', layout='nhwc', layout=Layout('tokens', grid=(h, w), prefix=k), or a callable that gives "
        "(B, K, h, w)"
    )


def detect_layout(
    activation: Tensor,
    *,
    module: nn.Module | None = None,
    model: nn.Module | None = None,
    image_size: tuple[int, int] | None = None,
    given: Layout | None = None,
) -> Layout | None:
    """Infer a layout as :func:`infer_layout`; None where the output does not look like a grid, or like several."""
    shape = tuple(activation.shape)
    if given is not None and given.kind != "tokens":
        return given
    around = _list_around(module, model)
    if len(shape) == 4 and given is None:
        kind = _detect_kind(shape, module, around, image_size)
        return None if kind is None else Layout(kind)
    if len(shape) != 3 or _find_shuffling(around) is not None:
        return None
    wanted = given or Layout("tokens")
    for grid, prefix in _list_token_grids(shape[1], around, image_size, wanted):
        return replace(wanted, grid=grid, prefix=prefix)
    return None


def _list_around(module: nn.Module | None, model: nn.Module | None) -> list[nn.Module]:
    """List a layer and the modules around it, the innermost first."""
    if model is not None and module is not None:
        return list_parents(map_parents(model), module)
    return [part for part in (module, model) if part is not None]


def _find_shuffling(around: Sequence[nn.Module]) -> str | None:
    """Find the class name of a module that puts patches in a random order."""
    inside = every_module(around[-1]) if around else ()
    return next((type(module).__name__ for module in inside if type(module).__name__ in _SHUFFLING), None)


def _detect_kind(
    shape: Sequence[int], module: nn.Module | None, around: list[nn.Module], image_size: tuple[int, int] | None
) -> LayoutKind | None:
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


def _kind_by_module(shape: Sequence[int], module: nn.Module | None) -> LayoutKind | None:
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
    """Return whether a grid can be the image divided by a stride, with each side rounded by less than one cell."""
    height, width = grid
    if image_size is None:
        return height == width
    tall, wide = image_size
    if height > tall or width > wide:
        return False
    return abs(height - width * tall / wide) < 1 or abs(width - height * wide / tall) < 1


def _divides(grid: tuple[int, int], image_size: tuple[int, int] | None) -> bool:
    """Return whether a grid can be the image cut into square patches of whole pixels, with the remainder dropped."""
    height, width = grid
    if image_size is None:
        return height == width
    tall, wide = image_size
    return max(tall // (height + 1), wide // (width + 1)) < min(tall // height, wide // width)


def _list_token_grids(
    tokens: int, around: list[nn.Module], image_size: tuple[int, int] | None, wanted: Layout
) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the possible (grid, prefix) of that many tokens, the surest first."""
    known = wanted.prefix if wanted.prefix is not None else _hinted_prefix(around)
    if wanted.grid is not None:
        cells = math.prod(wanted.grid)
        if wanted.prefix is not None:
            yield wanted.grid, wanted.prefix
        elif 0 <= tokens - cells <= _MOST_PREFIX:
            yield wanted.grid, tokens - cells
        return
    if any(map(_takes_any_shape, around)):
        grids = _hinted_grids(around, image_size) if image_size is not None else ()
        yield from ((grid, wanted.prefix or 0) for grid in grids if math.prod(grid) <= tokens)
        return
    for grid in _hinted_grids(around, image_size):
        prefix = tokens - math.prod(grid)
        if prefix == known or (wanted.prefix is None and 0 <= prefix <= _MOST_PREFIX):
            yield grid, prefix
    prefixes = [wanted.prefix] if wanted.prefix is not None else [known, *_USUAL_PREFIXES]
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
    """Return whether a model takes patches of images of any shape (NaFlex), without prefix and with padding."""
    return _setting(module, "num_patches") is not None and _setting(module, "image_size") is None


def _hinted_grids(around: list[nn.Module], image_size: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
    """Yield the grids that follow from the settings of the modules around a layer, the innermost first."""
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
