"""Which image a map is of: the reference or the target, where a model takes both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.maps import check_index

if TYPE_CHECKING:
    from torch import Tensor

    from mmgrad_explain.explanation.maps import ExplainedMaps


def sides_with_maps(explanation: ExplainedMaps) -> tuple[bool, ...]:
    """List the maps there are: False for the reference's, True for the target's."""
    if not explanation.image_of_calls:
        return (False, True)[: len(explanation.calls)]
    return tuple(target for target in (False, True) if int(target) in explanation.image_of_calls)


def call_of(explanation: ExplainedMaps, *, target: bool) -> int:
    """Return the index in ``calls`` of the reference's maps, or of the target's.

    Raises:
        InputError: there are none.
    """
    names, images = explanation.image_names, explanation.image_of_calls
    if target in sides_with_maps(explanation):
        return images.index(int(target)) if images else int(target)
    if not target:
        raise InputError(
            f"the map is of {names[images[0]]!r}: the layer does not depend on {names[0]!r}; ask with target=True, or "
            "choose another layer"
        )
    if len(names) > 1:
        raise InputError(f"target: there is no map of {names[1]!r}: the layer does not depend on it")
    raise InputError("target: the layer ran once, so there is no map of a target; pass a target to the model too")


def map_of(explanation: ExplainedMaps, index: int, *, target: bool) -> Tensor:
    """Return one map, (h, w), on the grid of the layer.

    Raises:
        InputError: there is no such map, or no such sample.
    """
    maps = explanation.calls[call_of(explanation, target=target)]
    check_index(index, len(explanation))
    return maps[index]


def size_of(explanation: ExplainedMaps, *, target: bool) -> tuple[int, int] | None:
    """Return (H, W) in pixels of the model input that a map is of, if it is known."""
    return (
        explanation.image_sizes[int(target)] if len(explanation.image_sizes) > int(target) else explanation.input_size
    )
