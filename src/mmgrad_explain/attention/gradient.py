"""Take the gradient of a score at every record, check it, and weigh it into maps."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout, fold_map, to_grid
from mmgrad_explain.attention.places.record_layouts import grid_of_rows
from mmgrad_explain.attention.recording.capture import Capture
from mmgrad_explain.attention.recording.records import Record
from mmgrad_explain.attention.running.modules import find_previous_block
from mmgrad_explain.attention.running.second_derivative import MATH_ATTENTION
from mmgrad_explain.attention.weighting import Weighting
from mmgrad_explain.errors import CaptureError, GradientError

# Gradients of averaged half-precision activations are close to the smallest number of that format.
_HALF_SCALE = 256.0


def take_gradients(
    score: Tensor,
    seen: Capture,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    also: Sequence[Tensor] = (),
    names: Collection[str] | None = None,
) -> tuple[dict[str, list[Tensor | None]], list[Tensor | None]]:
    """Take the gradient of the scores' sum with respect to every recorded activation.

    ``.grad`` of parameters and inputs is not changed.

    Args:
        score: (B,) or any shape; its sum is differentiated, so that each sample has its own gradient.
        seen: The records of the forward that the score was computed from.
        create_graph: Make the gradients differentiable.
        retain_graph: Keep the graph for another gradient; None keeps it only with ``create_graph``.
        also: Other tensors of the graph, differentiated in the same backward pass.
        names: The layers; None takes all that were recorded.

    Returns:
        Layer to one gradient a call, float32 (float64 for float64 activations), in the shape of the activation; None
        for a call that the score does not depend on. And one gradient for each tensor of ``also``, likewise.

    Raises:
        CaptureError: a layer has no record, or its record was changed in place.
        GradientError: the score does not depend on a layer at all, or autograd cannot take the gradient.
    """
    records = {name: seen.calls(name) for name in seen.records if names is None or name in names}
    for name, calls in records.items():
        _check_unchanged(name, calls)
    names = ", ".join(map(repr, records))
    if not score.requires_grad:
        severed = any(record.severed for calls in records.values() for record in calls)
        why = "gradients were off (torch.no_grad) when the layer ran" if severed else _CUT_OFF
        raise GradientError(f"the score does not depend on layer {names}: {why}")
    activations = [record.activation for calls in records.values() for record in calls]
    taken = differentiate(score, [*activations, *also], create_graph=create_graph, retain_graph=retain_graph)
    gradients = iter(taken)
    found = {name: [next(gradients) for _ in calls] for name, calls in records.items()}
    for name, of_calls in found.items():
        if all(gradient is None for gradient in of_calls):
            raise GradientError(f"the score does not depend on layer {name!r}: {_CUT_OFF}")
    return found, list(gradients)


def differentiate(
    score: Tensor, activations: Sequence[Tensor], *, create_graph: bool = False, retain_graph: bool | None = None
) -> list[Tensor | None]:
    """Take the gradient of the scores' sum with respect to each activation.

    Returns:
        One gradient an activation, float32 (float64 stays); None for one that the score does not depend on.

    Raises:
        GradientError: autograd cannot take the gradient.
    """
    scale = _HALF_SCALE if any(activation.dtype == torch.float16 for activation in activations) else 1.0
    try:
        taken = torch.autograd.grad(
            to_float(score).sum() * scale,
            activations,
            create_graph=create_graph,
            retain_graph=retain_graph,
            allow_unused=True,
        )
    except RuntimeError as error:
        raise GradientError(_explain_error(str(error))) from error
    floats: list[Tensor | None] = [None if gradient is None else to_float(gradient) for gradient in taken]
    if scale == 1:
        return floats
    return [None if gradient is None else gradient / scale for gradient in floats]


_CUT_OFF = (
    "nothing that the layer returned went into it, or a .detach(), torch.no_grad(), .data or a quantized layer lies "
    "between; choose another layer or another score"
)


def to_float(value: Tensor) -> Tensor:
    """Return ``value`` in float32; float64 stays as it is."""
    return value if value.dtype == torch.float64 else value.float()


def _check_unchanged(name: str, calls: Sequence[Record]) -> None:
    if any(record.activation._version != record.version for record in calls):  # noqa: SLF001  (a documented counter)
        raise CaptureError(
            f"the output of layer {name!r} was changed in place after it was recorded (what the layer returned is a "
            "tensor that the model goes on using): choose the layer before or after it"
        )


def _explain_error(message: str) -> str:
    first = message.strip().partition("\n")[0]
    if "is not implemented" in message and "derivative for" in message:
        return f"the gradient of fused attention cannot be differentiated again: {MATH_ATTENTION} ({first})"
    if "second time" in message:
        return (
            f"the graph of this forward was freed already: attend before loss.backward(), or retain it there ({first})"
        )
    if not torch.is_grad_enabled() and "does not require grad" in message:
        return f"gradients are off here (torch.no_grad): call attend outside that block ({first})"
    if "use_reentrant=True" in message:
        return f"pass use_reentrant=False to torch.utils.checkpoint, or switch checkpointing off ({first})"
    if "recomput" in message:
        return (
            "activation checkpointing repeated a part of the forward and met other operations than before: leave the "
            "model, its training flag and the contexts around it as they were until the backward pass is over, or "
            f"switch checkpointing off ({first})"
        )
    return f"the gradient cannot be taken: {first}"


def check_grids_reached(
    gradients: Mapping[str, Sequence[Tensor | None]], layouts: Mapping[str, Sequence[AnyLayout]], root: nn.Module
) -> None:
    """Raise GradientError where the score depends only on the prefix tokens (class token, registers) of a layer.

    This happens in the last block of a vision transformer that is read at its class token.
    """
    for name, of_calls in gradients.items():
        _check_grid_reached(name, layouts[name], of_calls, root)


def _check_grid_reached(
    name: str, layouts: Sequence[AnyLayout], gradients: Sequence[Tensor | None], root: nn.Module
) -> None:
    prefix_only = False
    for layout, gradient in zip(layouts, gradients, strict=True):
        if gradient is None:
            continue
        if bool(to_grid(gradient.detach(), layout).count_nonzero()):
            return
        tokens = isinstance(layout, Layout) and layout.kind == "tokens"
        prefix_only = prefix_only or (tokens and bool(gradient.detach().count_nonzero()))
    if prefix_only:
        before = find_previous_block(root, name)
        advice = f"take the block before it, {before!r}" if before else "take an earlier layer"
        raise GradientError(
            f"the score's gradient is zero on every patch of layer {name!r}: what follows it reads only the class "
            f"token, so {advice}"
        )


def measure_unevenness(gradient: Tensor) -> float:
    """Measure how much a gradient differs from place to place: the share of its norm that its mean over places lacks.

    Args:
        gradient: (B, K, h, w).

    Returns:
        0 where it is the same at every place, up to 1.
    """
    gradient = to_float(gradient)
    size = float(gradient.norm())
    return float((gradient - gradient.mean((2, 3), keepdim=True)).norm()) / size if size else 0.0


def weigh(record: Record, gradient: Tensor | None, layout: AnyLayout, weighting: Weighting, *, graph: bool) -> Tensor:
    """Make the signed map (B, h, w) of one record.

    Args:
        record: The activation.
        gradient: From :func:`take_gradients`; None makes a map of zeros.
        layout: The complete layout of both.
        weighting: Combines both.
        graph: Keep the map differentiable with respect to the inputs of the activation.

    Returns:
        (B, h, w) float32, or float64 for a float64 activation, under autocast too.
    """
    activation = record.activation if graph else record.activation.detach()
    with torch.autocast(activation.device.type, enabled=False):
        grid = to_float(grid_of_rows(activation, layout, record.rows))
        if gradient is None:
            maps = grid.new_zeros((grid.shape[0], *grid.shape[2:]))
        else:
            maps = weighting(grid, grid_of_rows(gradient, layout, record.rows).to(grid.dtype))
        return fold_map(maps, layout)
