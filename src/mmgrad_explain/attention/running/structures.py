"""Walk the nested inputs and outputs of models: tuples, lists, mappings and dataclasses."""

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield every tensor inside ``value``, in the order in which it is written.

    Args:
        value: A tensor; a tuple, list, mapping or dataclass of values; or anything else, which holds no tensors.
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


def paths_in(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor inside ``value`` with its path, such as ``[2]`` or ``[features][p3]``.

    Args:
        value: As in :func:`tensors_in`.
        path: The path of ``value`` itself.
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
        yield from paths_in(item, f"{path}[{name}]")


def unique_paths_in(value: Any) -> dict[str, Tensor]:
    """Return every tensor inside ``value`` by its path; a tensor that occurs twice has its first path only."""
    found: dict[str, Tensor] = {}
    for path, tensor in paths_in(value):
        if not any(tensor is other for other in found.values()):
            found[path] = tensor
    return found


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:  # noqa: PLR0911  (one for each kind of container)
    """Return ``value`` with every tensor replaced by ``change(tensor)``; containers without changes stay the same.

    Containers that hold a changed tensor are copied with their type and all other contents (a transformers
    ``ModelOutput`` stays one, and so does a named tuple); the original is not changed.

    Args:
        value: As in :func:`tensors_in`.
        change: Called once for each tensor; a tensor that it returns unchanged stays in place.
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


def is_image(tensor: Tensor) -> bool:
    """Return whether a tensor looks like an image batch: (B, 1 or 3, H, W), floating or uint8, H and W above 1."""
    numbers = tensor.is_floating_point() or tensor.dtype == torch.uint8
    return numbers and tensor.ndim == 4 and tensor.shape[1] in {1, 3} and min(tensor.shape[2:]) > 1


def holds_strings(value: Any) -> bool:
    """Return whether the values (not the keys) of a model's inputs hold a string anywhere."""
    if isinstance(value, str):
        return True
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return any(map(holds_strings, inside))


class PackedPatches(NamedTuple):
    """Images that come as patches (NaFlex), row by row.

    Attributes:
        patches: (B, N, side * side * 3), with padding at the end.
        grid: (h, w), how many patches each image has, the same for all images.
        side: Side of a patch in pixels.
    """

    patches: Tensor
    grid: tuple[int, int]
    side: int


def find_packed_patches(value: Any) -> PackedPatches | None:
    """Find images that come as patches: a mapping with ``pixel_values`` (B, N, D) and ``spatial_shapes`` (B, 2).

    Returns:
        The patches; None where there are none, or where the images have different shapes and so no common grid.
    """
    if isinstance(value, Mapping):
        patches, shapes = value.get("pixel_values"), value.get("spatial_shapes")
        if isinstance(patches, Tensor) and isinstance(shapes, Tensor) and patches.ndim == 3 and shapes.ndim == 2:
            different = set(map(tuple, shapes.tolist()))
            grid = different.pop()
            return None if different else PackedPatches(patches, grid, math.isqrt(patches.shape[2] // 3))
    if isinstance(value, (list, tuple, Mapping)):
        inside = value.values() if isinstance(value, Mapping) else value
        return next((found for item in inside if (found := find_packed_patches(item)) is not None), None)
    return None


def image_size(value: Any) -> tuple[int, int] | None:
    """Find the height and width, in pixels, of the largest image batch inside ``value``.

    Returns:
        (H, W), or None where there is no such tensor. The padding of images that come as patches does not count.
    """
    sizes = [(tensor.shape[2], tensor.shape[3]) for tensor in tensors_in(value) if is_image(tensor)]
    if not sizes and (packed := find_packed_patches(value)) is not None:
        sizes = [(packed.grid[0] * packed.side, packed.grid[1] * packed.side)]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def call_with(function: Callable[..., Any], inputs: Any, *before: Any) -> Any:
    """Call a function with inputs: a mapping by name, a tuple or list in order, anything else as one argument.

    Args:
        function: What to call.
        inputs: As :func:`as_arguments` takes them.
        *before: Arguments before the inputs.
    """
    args, kwargs = as_arguments(inputs)
    return function(*before, *args, **kwargs)


def as_arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and keyword arguments: a mapping by name, a tuple or list in order, else one argument."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs), {}) if isinstance(inputs, (tuple, list)) else ((inputs,), {})
