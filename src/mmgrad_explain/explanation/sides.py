"""Which picture's map is which: the reference's and the target's, where a model takes both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from mmgrad_explain.explanation.result import Explanation


def sides_of(explanation: Explanation) -> tuple[bool, ...]:
    """Say which maps there are: False for the reference's, True for the target's."""
    if not explanation.lies_on:
        return (False, True)[: len(explanation.calls)]
    return tuple(target for target in (False, True) if int(target) in explanation.lies_on)


def call_of(explanation: Explanation, *, target: bool) -> int:
    """Give the index in ``calls`` of the reference's map, or of the target's.

    Raises:
        InputError: there is none.
    """
    names, lies_on = explanation.pictures, explanation.lies_on
    if target in sides_of(explanation):
        return lies_on.index(int(target)) if lies_on else int(target)
    if not target:
        raise InputError(
            f"the map is of {names[lies_on[0]]!r}: the layer does not hang on {names[0]!r}; ask with target=True, or "
            "choose another layer"
        )
    if len(names) > 1:
        raise InputError(f"target: there is no map of {names[1]!r}, which the layer does not hang on")
    raise InputError("target: the layer ran once, so there is no map of a target; hand the model a target too")


def size_of(explanation: Explanation, *, target: bool) -> tuple[int, int] | None:
    """Give (H, W) in pixels of the model's input that a map lies on, where it is known."""
    return explanation.sizes[int(target)] if len(explanation.sizes) > int(target) else explanation.input_size
