"""From gradients to an :class:`~.explanation.Explanation`: weigh, fuse, look for maps that say nothing, and say so."""

import platform
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from mmgrad_explain._version import __version__
from mmgrad_explain.attention.capture import Capture
from mmgrad_explain.attention.explanation import Explanation
from mmgrad_explain.attention.fusing import Fuse, fuse_maps
from mmgrad_explain.attention.gradient import weigh
from mmgrad_explain.attention.weighting import Weighting
from mmgrad_explain.attention.words import Word
from mmgrad_explain.errors import GradientError, MMGradWarning
from mmgrad_explain.layouts import AnyLayout, describe_layout


def weigh_all(
    seen: Capture,
    gradients: dict[str, list[Tensor | None]],
    layouts: dict[str, list[AnyLayout]],
    weighting: Weighting,
    *,
    graph: bool,
) -> dict[str, list[Tensor]]:
    """Make the signed maps (B, h, w) of every layer and call; see :func:`~mmgrad_explain.attention.gradient.weigh`."""
    return {
        name: [
            weigh(record, gradient, layout, weighting, graph=graph)
            for record, gradient, layout in zip(seen.calls(name), of_calls, layouts[name], strict=True)
        ]
        for name, of_calls in gradients.items()
    }


def assemble(
    signed: dict[str, list[Tensor]],
    score: Tensor,
    score_name: str,
    weighting: str,
    fuse: tuple[str, Fuse],
    layouts: dict[str, list[AnyLayout]],
    *,
    size: tuple[int, int] | None,
    model: str,
    words: tuple[tuple[Word, ...], ...] | None = None,
) -> Explanation:
    """Make the result of signed maps, and warn of maps that say nothing.

    Args:
        signed: Layer name to one (B, h, w) float32 a call.
        score: (B,).
        score_name: Name of the score.
        weighting: Name of the weighting.
        fuse: Name and function that make one map of several layers'.
        layouts: Layer name to how its output was read, one a call.
        size: (H, W) of the model's input, where it is known.
        model: Name of the model.
        words: What each word contributes.

    Raises:
        GradientError: a map is not finite.
    """
    if not all(bool(one.isfinite().all()) for calls in signed.values() for one in calls):
        raise GradientError("the map is not finite: the activations or gradients overflow; try bfloat16 or float32")
    layers = {name: [one.relu() for one in calls] for name, calls in signed.items()}
    count = max(len(calls) for calls in layers.values())
    by_call = [[calls[index] for calls in layers.values() if index < len(calls)] for index in range(count)]
    calls = tuple(fuse_maps(maps, fuse[1]) for maps in by_call)
    flat = _flat(calls[0])
    below = torch.stack([(one[0].amin((1, 2)) < 0) & (one[0].amax((1, 2)) <= 0) for one in signed.values()])
    clipped = flat & below.any(0)
    notes = _notes(calls, flat, clipped)
    for note in notes:
        warnings.warn(note, MMGradWarning, stacklevel=4)
    notes += [
        f"the map of samples {_which(_flat(maps))} in call {index} is flat"
        for index, maps in enumerate(calls)
        if index and bool(_flat(maps).any())
    ]
    return Explanation(
        calls=calls,
        score=score,
        score_name=score_name,
        weighting=weighting,
        fuse=fuse[0],
        layers=layers,
        signed=signed,
        layouts={name: tuple(map(describe_layout, of_calls)) for name, of_calls in layouts.items()},
        flat=flat,
        clipped=clipped,
        notes=tuple(notes),
        input_size=size,
        versions={"mmgrad_explain": __version__, "torch": torch.__version__, "python": platform.python_version()},
        model=model,
        words=words,
    )


def _flat(maps: Tensor) -> Tensor:
    return maps.amax((1, 2)) <= maps.amin((1, 2))


def _notes(calls: Sequence[Tensor], flat: Tensor, clipped: Tensor) -> list[str]:
    """Say what is wrong with the maps of the first call, in words."""
    elsewhere = [index for index, maps in enumerate(calls) if index and not bool(_flat(maps).all())]
    hint = f" (the maps of call {elsewhere[0]} are not)" if elsewhere and bool(flat.all()) else ""
    notes = []
    if bool(clipped.any()):
        notes.append(
            f"the map of samples {_which(clipped)} is empty: the score falls with the activation everywhere in it, and "
            f"the ReLU removed all of it{hint}"
        )
    if bool((flat & ~clipped).any()):
        notes.append(f"the map of samples {_which(flat & ~clipped)} is flat: no place counts more than another{hint}")
    return notes


def _which(mask: Tensor) -> list[int]:
    return [int(index) for index in mask.nonzero().flatten().tolist()]
