"""Walk the nested things that models take and give: tuples, lists, mappings, dataclasses, alone or in one another."""

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield every tensor inside ``value``, in the order a reader would meet them.

    Args:
        value: A tensor, a tuple, list, mapping or dataclass of such, or anything else (which holds none).
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name, None))


def ways_in(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor inside ``value`` with the way to it, such as ``[2]`` or ``[features][p3]``.

    Args:
        value: As in :func:`tensors_in`.
        path: The way to ``value``.
    """
    if isinstance(value, Tensor):
        yield path, value
        return
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = zip(getattr(value, "_fields", None) or range(len(value)), value, strict=True)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    for name, item in items:
        yield from ways_in(item, f"{path}[{name}]")


def parts_in(value: Any) -> dict[str, Tensor]:
    """Name every tensor inside ``value`` by the way to it; a tensor that is there twice is named once."""
    found: dict[str, Tensor] = {}
    for way, tensor in ways_in(value):
        if not any(tensor is other for other in found.values()):
            found[way] = tensor
    return found


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:  # noqa: PLR0911  (one a kind of container)
    """Give ``value`` with every tensor replaced by ``change(tensor)``; what holds no changed tensor is the same object.

    Containers that hold a changed tensor are copied, with their type and all they carry besides (a transformers
    ``ModelOutput`` stays one, a named tuple too); the original is left alone.

    Args:
        value: As in :func:`tensors_in`.
        change: Called once for each tensor; returning the same tensor leaves it in place.
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        items = {key: map_tensors(item, change) for key, item in value.items()}
        if all(items[key] is item for key, item in value.items()):
            return value
        fresh: Any = copy.copy(value)
        for key, item in items.items():
            fresh[key] = item
        return fresh
    if isinstance(value, (list, tuple)):
        changed = [map_tensors(item, change) for item in value]
        if all(new is old for new, old in zip(changed, value, strict=True)):
            return value
        kind: Any = type(value)
        return kind(*changed) if hasattr(value, "_fields") else kind(changed)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        differing = {name: new for name, old in fields.items() if (new := map_tensors(old, change)) is not old}
        if not differing:
            return value
        fresh = copy.copy(value)
        for name, item in differing.items():
            object.__setattr__(fresh, name, item)
        return fresh
    return value


def is_picture(tensor: Tensor) -> bool:
    """Say whether a tensor looks like a picture batch: (B, 1 or 3, H, W), floating or bytes, several pixels a side."""
    numbers = tensor.is_floating_point() or tensor.dtype == torch.uint8
    return numbers and tensor.ndim == 4 and tensor.shape[1] in {1, 3} and min(tensor.shape[2:]) > 1


def holds_strings(value: Any) -> bool:
    """Say whether there is a string anywhere inside the values (not the keys) of what a model takes."""
    if isinstance(value, str):
        return True
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return any(map(holds_strings, inside))


class PackedPatches(NamedTuple):
    """Pictures that come as patches (NaFlex), row by row.

    Attributes:
        patches: (B, N, side * side * 3), padding behind.
        grid: (h, w), how many patches of each picture there are, alike for all.
        side: Of a patch, in pixels.
    """

    patches: Tensor
    grid: tuple[int, int]
    side: int


def packed_patches(value: Any) -> PackedPatches | None:
    """Find pictures that come as patches: a mapping with ``pixel_values`` (B, N, D) and ``spatial_shapes`` (B, 2).

    Returns:
        The patches; None where there are none, or pictures of different shapes, which lie on no common grid.
    """
    if isinstance(value, Mapping):
        patches, shapes = value.get("pixel_values"), value.get("spatial_shapes")
        if isinstance(patches, Tensor) and isinstance(shapes, Tensor) and patches.ndim == 3 and shapes.ndim == 2:
            different = set(map(tuple, shapes.tolist()))
            grid = different.pop()
            return None if different else PackedPatches(patches, grid, math.isqrt(patches.shape[2] // 3))
    if isinstance(value, (list, tuple, Mapping)):
        inside = value.values() if isinstance(value, Mapping) else value
        return next((found for item in inside if (found := packed_patches(item)) is not None), None)
    return None


def image_size(value: Any) -> tuple[int, int] | None:
    """Find the height and width, in pixels, of the largest picture batch inside ``value``.

    Returns:
        (H, W), or None where there is no such tensor. Pictures that come as patches count without their padding.
    """
    sizes = [(tensor.shape[2], tensor.shape[3]) for tensor in tensors_in(value) if is_picture(tensor)]
    if not sizes and (packed := packed_patches(value)) is not None:
        sizes = [(packed.grid[0] * packed.side, packed.grid[1] * packed.side)]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)
