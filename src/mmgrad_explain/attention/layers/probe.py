"""Search for the layers that a map can be made at, with one forward and one gradient with hooks on every module.

Three more forwards, each with a place marked on the image, check which layers have cells that lie where they seem to.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from mmgrad_explain.attention.gradient import differentiate, measure_unevenness
from mmgrad_explain.attention.layers.candidate import Candidate
from mmgrad_explain.attention.layers.choice import Trace, choose_layer, find_passed
from mmgrad_explain.attention.layers.marked_inputs import mark_features, mark_words
from mmgrad_explain.attention.layouts.layout import AnyLayout, fold_map, to_grid_if_it_fits
from mmgrad_explain.attention.model_hints import ask_layout_for, ask_target_layer
from mmgrad_explain.attention.places.image_owners import find_owners, sort_by_image
from mmgrad_explain.attention.places.marked_places import find_layers_in_place, refuse_packed
from mmgrad_explain.attention.places.record_layouts import ask_model, find_grid_layout, grid_of_rows
from mmgrad_explain.attention.recording.capture import Capture
from mmgrad_explain.attention.recording.records import Record
from mmgrad_explain.attention.running.autograd_graph import find_leaves_below
from mmgrad_explain.attention.running.input_images import InputImage, find_input_images, make_leaves
from mmgrad_explain.attention.running.modules import plain_modules, split_part
from mmgrad_explain.attention.running.undisturbed import same_randomness
from mmgrad_explain.attention.scores.base import Score
from mmgrad_explain.attention.scores.checks import describe_other_batch, ensure_per_sample
from mmgrad_explain.attention.scores.guess import choose_score, mention_guess
from mmgrad_explain.errors import GradientError


@dataclass(frozen=True)
class Search:
    """The result of a search for layers.

    Attributes:
        candidates: All layers that a map can be made at.
        refusal: Why none of them was chosen; empty where one was.
        scorer: The score that was used.
        uneven: How much the gradient at the chosen layer differs from place to place, 0 to 1.
        passed: Names of the layers before the chosen one that every path from the image to the score passes; empty
            where the model names its layer itself.
    """

    candidates: list[Candidate]
    refusal: str
    scorer: Score
    uneven: float = 0.0
    passed: frozenset[str] = frozenset()


def probe_layers(
    root: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], score: str | Callable[[Any], Any] | None
) -> Search:
    """Search for candidate layers in a model that is undisturbed already.

    Args:
        root: The unwrapped model.
        args: The model's arguments.
        kwargs: The model's keyword arguments.
        score: The caller's score; None if there is none.

    Raises:
        InputError: as :func:`~mmgrad_explain.attention.layers.candidates.candidate_layers`.
        GradientError: likewise.
    """
    inputs = (tuple(args), kwargs)
    packed = ask_layout_for(root) is not None
    if not packed:
        refuse_packed(inputs)
    images = find_input_images(root, inputs)
    (args, kwargs), leaves = make_leaves(inputs, images) if images else mark_features(inputs)
    own_layer = ask_target_layer(root)
    modules = {
        name: module for name, module in plain_modules(root).items() if name == own_layer or not _needs_no_map(module)
    }
    with contextlib.ExitStack() as stack:
        words = mark_words(stack, modules.values(), inputs)
        with Capture(root, modules, force_grad=True, record_clone=True, split=True, packed=packed) as seen:
            with same_randomness(list(root.parameters()), inputs):
                output = root(*args, **kwargs)
            seen.stop()
            scorer = choose_score(root, score, output, list(leaves.values()))
            with mention_guess(scorer):
                values = ensure_per_sample(scorer(output))
                return _judge(seen, values, _Inputs(inputs, images, leaves, words), own_layer, scorer)


@dataclass(frozen=True)
class _Inputs:
    """The inputs of the model: unchanged, its images, and the leaves of images and words in the graph."""

    unchanged: Any
    images: tuple[InputImage, ...]
    leaves: dict[int, Tensor]
    words: list[Tensor]


def _needs_no_map(module: nn.Module) -> bool:
    """Return whether a map at a module is useless.

    The module returns its input, at least in evaluation mode, so that its input is a candidate already; or it pads,
    which shifts the grid.
    """
    name = type(module).__name__
    return isinstance(module, nn.Identity) or name.startswith(("Dropout", "DropPath")) or name.endswith("Pad2d")


def _judge(seen: Capture, values: Tensor, inputs: _Inputs, own_layer: Any, scorer: Score) -> Search:
    bits = _find_dependencies(seen, inputs)
    if len(inputs.images) > 1:
        _sort_by_image(seen, inputs, bits)
    records = [record for name in seen.records for record in seen.records[name]]
    if not values.requires_grad or not records:
        raise GradientError(
            "the score depends on no layer with at least three dimensions: name target_layers, or check that the score "
            "is computed from the model's output without .detach() or torch.no_grad()"
        )
    leaves = list(inputs.leaves.values())
    taken = differentiate(values, [*(record.activation for record in records), *leaves], retain_graph=True)
    gradients = {id(record): gradient for record, gradient in zip(records, taken, strict=False)}
    found, batches = _list_candidates(seen, values, inputs, bits, gradients)
    inferred = {candidate.name: candidate.layout for candidate in found if ask_model(seen, candidate.name) is None}
    kept = find_layers_in_place(seen.root, seen, inferred, inputs.unchanged) if inferred else set()
    found = [
        candidate
        for candidate in found
        if candidate.name in kept or candidate.name not in inferred or candidate.name == own_layer
    ]
    best, refusal = next((candidate for candidate in found if candidate.name == own_layer), None), ""
    passed: frozenset[str] = frozenset()
    if best is None:
        of_first = [candidate for candidate in found if _is_of_first(seen.records[candidate.name][0])]
        of_leaves = dict(zip(leaves, taken[len(records) :], strict=True))
        trace = _trace(seen, values, inputs, of_leaves, gradients, kept)
        best, refusal = choose_layer(of_first, trace)
        if best is None and not refusal:
            refusal = _explain_no_candidate(batches, len(values))
        if best is not None:
            passed = find_passed(of_first[: of_first.index(best)], trace)
    used = {name for name, calls in seen.records.items() if any(gradients[id(record)] is not None for record in calls)}
    uneven = 0.0 if best is None else _measure_unevenness(seen, best, gradients)
    marked = [replace(candidate, chosen=candidate is best) for candidate in found]
    named = _shorten_names(marked, used)
    names = frozenset(after.name for before, after in zip(marked, named, strict=True) if before.name in passed)
    return Search(named, refusal, scorer, uneven, names)


def _measure_unevenness(seen: Capture, candidate: Candidate, gradients: dict[int, Tensor | None]) -> float:
    """Measure how much the gradient at a layer differs from place to place, in the call where it does most."""
    grids = [
        grid_of_rows(gradient, candidate.layout, record.rows)
        for record in seen.records[candidate.name]
        if (gradient := gradients[id(record)]) is not None
        and to_grid_if_it_fits(gradient, candidate.layout) is not None
    ]
    return max(map(measure_unevenness, grids), default=0.0)


def _is_of_first(record: Record) -> bool:
    return record.image in {None, 0}


def _trace(
    seen: Capture,
    values: Tensor,
    inputs: _Inputs,
    of_leaves: dict[Tensor, Tensor | None],
    gradients: dict[int, Tensor | None],
    kept: set[str],
) -> Trace:
    """Collect the graph from the score to the first image, or to the first layers that saw it if it has no leaf."""
    records = {
        name: [
            (record, gradient)
            for record in calls
            if _is_of_first(record) and (gradient := gradients[id(record)]) is not None
        ]
        for name, calls in seen.records.items()
    }
    first = [leaf for number, leaf in inputs.leaves.items() if number == 0 or not inputs.images]
    if first:
        return Trace(values, records, first, of_leaves[first[0]] if inputs.images else None)
    starts = {
        name: [record.activation for record, _ in calls if record.activation.is_leaf] for name, calls in records.items()
    }
    in_place = [leaf for name in kept for leaf in starts[name]]
    return Trace(values, records, in_place or [leaf for found in starts.values() for leaf in found], None)


def _find_dependencies(seen: Capture, inputs: _Inputs) -> dict[int, tuple[bool, bool | None]]:
    """Find for each record, by its id, whether it depends on an image and on words; None where there are no words."""
    records = [record for calls in seen.records.values() for record in calls]
    marks = {id(leaf): 1 for leaf in inputs.leaves.values()} | {id(word): 2 for word in inputs.words}
    found = find_leaves_below((record.activation for record in records), marks)
    return {
        id(record): (bool(bits & 1), bool(bits & 2) if inputs.words else None)
        for record, bits in zip(records, found, strict=True)
    }


def _sort_by_image(seen: Capture, inputs: _Inputs, bits: dict[int, tuple[bool, bool | None]]) -> None:
    """Drop calls that depend on no image, and sort the others by the image that they lie on."""
    if inputs.leaves:
        for name, calls in list(seen.records.items()):
            seen.records[name] = [record for record in calls if bits[id(record)][0]]
    owners = find_owners(seen.root, seen, inputs.unchanged, inputs.images, inputs.leaves)
    before = {record.activation: bits[id(record)] for calls in seen.records.values() for record in calls}
    sort_by_image(seen, owners)
    bits |= {id(record): before[record.activation] for calls in seen.records.values() for record in calls}


def _list_candidates(
    seen: Capture,
    values: Tensor,
    inputs: _Inputs,
    bits: dict[int, tuple[bool, bool | None]],
    gradients: dict[int, Tensor | None],
) -> tuple[list[Candidate], dict[str, list[int]]]:
    """List the layers with a grid, and the batches of layers that see another number of samples than there are."""
    found: list[Candidate] = []
    batches: dict[str, list[int]] = {}
    follow_images = any(from_image for from_image, _ in bits.values())
    for name in dict.fromkeys(seen.order):
        calls = seen.records[name]
        layout = find_grid_layout(seen, name) if calls else None
        if layout is None or (follow_images and not bits[id(calls[0])][0]):
            continue
        grid = grid_of_rows(calls[0].activation.detach(), layout, calls[0].rows)
        if grid.shape[2] * grid.shape[3] == 1:
            continue
        if grid.shape[0] != len(values):
            if any(gradients[id(record)] is not None for record in calls):
                batches[name] = [len(record.activation) for record in calls]
            continue
        height, width = fold_map(grid[:, 0], layout).shape[1:]
        found.append(
            Candidate(
                name=name,
                type=type(seen.layers[name]).__name__,
                grid=(height, width),
                channels=grid.shape[1],
                layout=layout,
                calls=len(calls),
                gradient_reaches=any(_reaches_grid(gradients[id(record)], layout) for record in calls),
                mixes_text=bits[id(calls[0])][1],
                image_names=tuple(
                    dict.fromkeys(inputs.images[record.image].name for record in calls if record.image is not None)
                ),
            )
        )
    return found, batches


def _reaches_grid(gradient: Tensor | None, layout: AnyLayout) -> bool:
    if gradient is None:
        return False
    grid = to_grid_if_it_fits(gradient, layout)  # a call on an image of another size may not fit
    return grid is not None and bool(grid.count_nonzero())


def _shorten_names(found: Sequence[Candidate], used: set[str]) -> list[Candidate]:
    """Use the name of the layer alone where the score uses only one part of its output."""
    parts: dict[str, list[str]] = {}
    for candidate in found:
        if candidate.name in used:
            parts.setdefault(split_part(candidate.name)[0], []).append(candidate.name)
    alone = {names[0]: layer for layer, names in parts.items() if len(names) == 1}
    return [replace(candidate, name=alone.get(candidate.name, candidate.name)) for candidate in found]


def _explain_no_candidate(batches: dict[str, list[int]], samples: int) -> str:
    """Explain why there is no candidate, where layers see another number of samples than the score has."""
    if not batches:
        return ""
    name, calls = list(batches.items())[-1]
    reason = describe_other_batch(samples, calls)
    return f"target_layers: no layer sees one batch of all samples; layer {name!r} {reason}" if reason else ""
