"""Assemble an explanation: fuse the maps of a method, and note the maps that say nothing."""

import platform
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from mmgrad_explain._version import __version__
from mmgrad_explain.attention.layouts.layout import describe_layout
from mmgrad_explain.attention.methods.base import MethodMaps
from mmgrad_explain.attention.word_values.measure import WordValues
from mmgrad_explain.errors import GradientError, MMGradWarning
from mmgrad_explain.explanation.fusion import Fuse, fuse_maps
from mmgrad_explain.explanation.result import Explanation
from mmgrad_explain.notes import Note, join_notes


def assemble(
    made: MethodMaps,
    score: Tensor,
    score_name: str,
    method: str,
    fuse: tuple[str, Fuse],
    *,
    size: tuple[int, int] | None,
    model: str,
    words: WordValues | None = None,
    stacklevel: int = 4,
) -> Explanation:
    """Make an explanation of signed maps, and warn of maps that say nothing.

    Args:
        made: The maps of the method. Maps of the same image are fused.
        score: (B,).
        score_name: Name of the score.
        method: Name of the method.
        fuse: Name and function that fuse the maps of several layers.
        size: (H, W) of the model's input, if it is known.
        model: Name of the model.
        words: What each word contributes.
        stacklevel: Of the warnings, as :func:`warnings.warn` counts it.

    Raises:
        GradientError: a map is not finite.
    """
    image_of_calls = made.image_of_calls
    signed = {name: [grid.detach().float() for grid in calls] for name, calls in made.signed.items()}
    layers = {name: [grid.relu() for grid in calls] for name, calls in signed.items()}
    slots = _group_calls({name: (image_of_calls or {}).get(name, [0] * len(calls)) for name, calls in layers.items()})
    calls = tuple(fuse_maps([layers[name][index] for name, index in slot], fuse[1]) for slot in slots.values())
    first = next(iter(slots.values()))
    rest = [call for slot in list(slots.values())[1:] for call in slot]
    ranges = _find_ranges([*(signed[name][index] for name, index in [*first, *rest]), *calls])
    if not all(bool(values.isfinite().all()) for values in ranges[: -len(calls)]):
        raise GradientError("the map is not finite: the activations or gradients overflow; try bfloat16 or float32")
    flats = [high <= low for low, high in ranges[-len(calls) :]]
    below = torch.stack([(low < 0) & (high <= 0) for low, high in ranges[: len(first)]])
    flat, clipped = flats[0], flats[0] & below.any(0)
    notes = join_notes(_note_dark_maps(flats, clipped), len(flat))
    names = [f"sample {index}" for index in range(len(flat))]
    for note in notes:
        warnings.warn(note.text_with_names(names), MMGradWarning, stacklevel=stacklevel)
    later_flat = [
        Note("flat-map", f"the map of call {index} is flat", _list_indices(of_call))
        for index, of_call in enumerate(flats)
        if index and bool(of_call.any())
    ]
    return Explanation(
        calls=calls,
        score=score,
        score_name=score_name,
        method=method,
        fuse=fuse[0],
        layers=layers,
        signed=signed,
        layouts={
            name: tuple(layout if isinstance(layout, str) else describe_layout(layout) for layout in of_calls)
            for name, of_calls in made.layouts.items()
        },
        flat=flat.to(score.device),
        clipped=clipped.to(score.device),
        notes=join_notes([*notes, *later_flat, *made.notes, *(words.notes if words else ())], len(flat)),
        input_size=size,
        versions={"mmgrad_explain": __version__, "torch": torch.__version__, "python": platform.python_version()},
        model=model,
        words=None if words is None else words.words,
        words_by=() if words is None else words.ways,
        image_of_calls=() if image_of_calls is None else tuple(image for image, _ in slots),
    )


def _group_calls(image_of_calls: dict[str, list[int]]) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """Group the calls of all layers by (image, number of the call among the calls of that image)."""
    slots: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for name, images in image_of_calls.items():
        for index, image in enumerate(images):
            slots.setdefault((image, images[:index].count(image)), []).append((name, index))
    return dict(sorted(slots.items()))


def _find_ranges(every: Sequence[Tensor]) -> list[Tensor]:
    """Return the smallest and the largest value of each map, (2, B) for each (B, h, w), on the CPU.

    There is one copy for all maps, so that a GPU waits only once. NaN and infinity are kept.
    """
    ranges = [torch.stack([maps.amin((1, 2)), maps.amax((1, 2))]) for maps in every]
    return list(torch.split(torch.cat(ranges, 1).cpu(), [values.shape[1] for values in ranges], 1))


def _note_dark_maps(flats: Sequence[Tensor], clipped: Tensor) -> list[Note]:
    """Make the notes about empty and flat maps of the first call."""
    flat = flats[0]
    others = [index for index, of_call in enumerate(flats) if index and not bool(of_call.all())]
    hint = f" (the maps of call {others[0]} are not)" if others and bool(flat.all()) else ""
    notes = []
    if bool(clipped.any()):
        text = "the map is empty: the score falls with the activation everywhere in it, and the ReLU removed all of it"
        notes.append(Note("empty-map", text + hint, _list_indices(clipped)))
    if bool((flat & ~clipped).any()):
        text = "the map is flat: no place counts more than another"
        notes.append(Note("flat-map", text + hint, _list_indices(flat & ~clipped)))
    return notes


def _list_indices(mask: Tensor) -> tuple[int, ...]:
    return tuple(int(index) for index in mask.nonzero().flatten().tolist())
