"""Find the layouts of what was recorded: the caller's, the model's own, or an inferred one."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmgrad_explain.attention.layouts.detection import detect_layout, infer_layout
from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout, ensure_layout, to_grid, to_grid_if_it_fits
from mmgrad_explain.attention.model_hints import ask_layout_for
from mmgrad_explain.attention.recording.capture import Capture
from mmgrad_explain.errors import InputError

KnownLayouts = dict[tuple[Any, ...], Layout]
"""Layouts that were inferred, by what they depend on: layer, shape without the batch, image size, known parts."""


def find_layouts(
    seen: Capture, given: AnyLayout | None, root: nn.Module, known_layouts: KnownLayouts
) -> dict[str, list[AnyLayout]]:
    """Find the layout of every record: the caller's, that of the model's own ``layout_for``, or an inferred one.

    Args:
        seen: The records.
        given: The caller's layout; None if there is none.
        root: The model.
        known_layouts: What earlier calls inferred for this model; added to.

    Raises:
        InputError: a layout cannot be inferred, or the caller's does not fit.
    """
    found: dict[str, list[AnyLayout]] = {}
    for name, module in seen.layers.items():
        calls, known = seen.calls(name), ask_model(seen, name) if given is None else given
        if known is not None and not isinstance(known, Layout):
            found[name] = [known] * len(calls)
            continue
        found[name] = []
        for record in calls:
            key = (name, record.activation.shape[1:], record.image_size, known)
            if key not in known_layouts:
                try:
                    known_layouts[key] = infer_layout(
                        record.activation, module=module, model=root, image_size=record.image_size, given=known
                    )
                except InputError as error:
                    raise InputError(f"layer {name!r}: {error}") from None
            found[name].append(known_layouts[key])
    return found


def ask_model(seen: Capture, name: str) -> AnyLayout | None:
    """Ask the model's own ``layout_for`` how a layer lies on the images of the recorded call.

    Returns:
        Its answer; None where the model has no such method or leaves the layout to be inferred.

    Raises:
        InputError: ``layout_for`` raises it, or returns no layout.
    """
    layout_for = ask_layout_for(seen.root)
    if layout_for is None or seen.arguments is None:
        return None
    args, kwargs = seen.arguments
    return ensure_layout(layout_for(name, *args, **kwargs))


def find_grid_layout(seen: Capture, name: str) -> AnyLayout | None:
    """Find the layout of a layer's first call as :func:`find_layouts`; None where the layer has no grid."""
    record = seen.records[name][0]
    try:
        layout = ask_model(seen, name)
    except InputError:  # a model's own layout_for has no other way to say that a layer has no grid
        return None
    if layout is None or isinstance(layout, Layout):
        layout = detect_layout(
            record.activation, module=seen.layers[name], model=seen.root, image_size=record.image_size, given=layout
        )
    if layout is None or to_grid_if_it_fits(record.activation.detach(), layout) is None:
        return None
    return layout


def grid_of_rows(x: Tensor, layout: AnyLayout, rows: Sequence[int] | None) -> Tensor:
    """Rearrange a layer's output, or a gradient of its shape, to (B, K, h, w), and keep the rows of one image."""
    grid = to_grid(x, layout)
    return grid if rows is None else grid[list(rows)]


def batches_of(seen: Capture, layouts: dict[str, list[AnyLayout]]) -> list[int]:
    """Return the batch size of every record, layer by layer."""
    return [
        grid_of_rows(record.activation.detach(), layout, record.rows).shape[0]
        for name, of_calls in layouts.items()
        for record, layout in zip(seen.calls(name), of_calls, strict=True)
    ]
