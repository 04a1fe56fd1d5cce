"""Which layers a map can be made at, found by one forward and one gradient with every module watched.

Three more forwards, each with a place marked on the picture, say whose cells lie where they seem to.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.attributes import layout_method, own_layer, own_score
from mmgrad_explain.attention.autograd_graph import hangs_on
from mmgrad_explain.attention.capture import Capture, Record
from mmgrad_explain.attention.gradient import cells_of, differentiate, own_layout
from mmgrad_explain.attention.input_images import Picture, arrange, find_owners, follow, pictures_in
from mmgrad_explain.attention.layers.choice import Trace, choose
from mmgrad_explain.attention.layouts.detection import infer_layout
from mmgrad_explain.attention.layouts.layout import AnyLayout, Layout, placed, to_grid
from mmgrad_explain.attention.layouts.marked_places import in_place, refuse_packed
from mmgrad_explain.attention.modules import plain_modules, split_part, unwrap
from mmgrad_explain.attention.scores.embedding import Score, check_score, ensure_score, other_batch
from mmgrad_explain.attention.scores.guess import default_score, naming_the_guess
from mmgrad_explain.attention.structures import holds_strings, map_tensors, tensors_in
from mmgrad_explain.attention.undisturbed import own_inputs, same_randomness, undisturbed
from mmgrad_explain.errors import GradientError, InputError


@dataclass(frozen=True)
class Candidate:
    """A layer whose output looks like a grid over the picture.

    Attributes:
        name: Dotted name inside the model.
        type: Class name of the module.
        grid: (h, w), cells.
        channels: K.
        layout: How the output lies on the picture: what the model's own ``layout_for`` says, or what was inferred.
        calls: How often the forward called the layer.
        gradient_reaches: The score's gradient is not zero everywhere on the grid.
        mixes_text: Text has been mixed into the output; None where no text input could be told.
        chosen: The layer that ``target_layers=None`` takes: the model's own ``target_layer`` where it names one.
        pictures: Which of several input pictures its calls lie on, by name; empty where there is one picture.
    """

    name: str
    type: str
    grid: tuple[int, int]
    channels: int
    layout: AnyLayout
    calls: int
    gradient_reaches: bool
    mixes_text: bool | None
    chosen: bool = False
    pictures: tuple[str, ...] = ()


def candidate_layers(
    model: nn.Module, *args: Any, score: str | Callable[[Any], Any] | None = None, **kwargs: Any
) -> list[Candidate]:
    """List the layers a map can be made at, in the order in which they run.

    The model runs four times and comes back as it was. The probe keeps every module's output, so it needs the memory
    of a training step. A layer is listed only if a place that is marked on the picture is found again there. Give a
    real picture: where noise is marked, it is noise as before, and layers that see large parts of it may be missed.

    Args:
        model: Any model.
        *args: What the model takes.
        score: As for :class:`~mmgrad_explain.attention.mmgrad.MultiModalGradAttention`.
        **kwargs: What the model takes by name.

    Returns:
        The candidates; the one that ``target_layers=None`` takes is marked.

    Raises:
        InputError: the score cannot be told from the output, or the pictures come packed in a way that cannot be told.
        GradientError: the score depends on none of the layers.
    """
    root = unwrap(model)
    with undisturbed(root, (args, kwargs)):
        own_args, own_kwargs = own_inputs((args, kwargs))
        return probe(root, own_args, own_kwargs, score).candidates


def find_layer(
    root: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], score: str | Callable[[Any], Any] | None
) -> str:
    """Give the name of the layer that ``target_layers=None`` takes, in a model that is undisturbed already.

    Raises:
        InputError: it cannot be told which layer is meant, and the message names the choices; or as
            :func:`candidate_layers`.
        GradientError: there is none, or as :func:`candidate_layers`.
    """
    search = probe(root, args, kwargs, score)
    chosen = next((one.name for one in search.candidates if one.chosen), None)
    if chosen is not None:
        return chosen
    with naming_the_guess(search.scorer):
        if search.refusal:
            raise InputError(search.refusal)
        raise GradientError(
            "target_layers: no layer of the model has both a spatial grid and a gradient from the score; name one "
            "(with layout= where its output is no grid), or use load_composer for tiled or packed pictures"
        )


def resolve_score(
    root: nn.Module, score: str | Callable[[Any], Any] | None, output: Any, sources: Sequence[Tensor] = ()
) -> Score:
    """Choose the score: the one asked for, the model's own ``default_score``, or what the output suggests.

    Args:
        root: The model.
        score: The one asked for.
        output: What the model gave.
        sources: Tensors that stand for the picture, on which a suggested score must hang.
    """
    wanted = own_score(root) if score is None else score
    return default_score(output, sources) if wanted is None else ensure_score(wanted)


@dataclass(frozen=True)
class Search:
    """What a search for layers gave.

    Attributes:
        candidates: All that a map can be made at.
        refusal: Why none of them was chosen; empty where one was.
        scorer: The score that was taken.
    """

    candidates: list[Candidate]
    refusal: str
    scorer: Score


def probe(
    root: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], score: str | Callable[[Any], Any] | None
) -> Search:
    """Do the work of :func:`candidate_layers` on a model that is undisturbed already."""
    inputs = (tuple(args), kwargs)
    if layout_method(root) is None:
        refuse_packed(inputs)
    pictures = pictures_in(root, inputs)
    words: list[Tensor] = []
    numbers = [t for t in tensors_in(inputs) if not t.is_floating_point() and not t.is_complex()]
    (args, kwargs), leaves = follow(inputs, pictures) if pictures else _follow_features(inputs)
    own = own_layer(root)
    modules = {name: module for name, module in plain_modules(root).items() if name == own or not _is_no_place(module)}
    with contextlib.ExitStack() as stack:
        for module in modules.values():
            if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
                handle = module.register_forward_hook(
                    _follow_words(numbers, words, strings=holds_strings(inputs)), with_kwargs=True
                )
                stack.callback(handle.remove)
        packed = layout_method(root) is not None
        with Capture(root, modules, force_grad=True, onward=True, split=True, packed=packed) as seen:
            with same_randomness(list(root.parameters()), inputs):
                output = root(*args, **kwargs)
            seen.stop()
            scorer = resolve_score(root, score, output, list(leaves.values()))
            with naming_the_guess(scorer):
                values = check_score(scorer(output))
                found, refusal = _judge(seen, values, _Inputs(inputs, pictures, leaves, words), own)
            return Search(found, refusal, scorer)


@dataclass(frozen=True)
class _Inputs:
    """What the model was called with: as it came, its pictures, and the leaves of pictures and words in the graph."""

    given: Any
    pictures: tuple[Picture, ...]
    leaves: dict[int, Tensor]
    words: list[Tensor]


def _follow_features(inputs: Any) -> tuple[Any, dict[int, Tensor]]:
    """Follow features instead of pictures: the floating tensors of the most dimensions."""
    most = max((t.ndim for t in tensors_in(inputs) if t.is_floating_point()), default=0)
    leaves: dict[int, Tensor] = {}

    def watch(tensor: Tensor) -> Tensor:
        if not (tensor.is_floating_point() and tensor.ndim == most > 1):
            return tensor
        leaves[len(leaves)] = tensor.detach().requires_grad_()
        return leaves[len(leaves) - 1].clone()

    return map_tensors(inputs, watch), leaves


def _is_no_place(module: nn.Module) -> bool:
    """Say whether a module is none to take a map at.

    It hands on what it gets, in evaluation mode at least, so that its input is a candidate already; or it pads, which
    shifts the grid.
    """
    name = type(module).__name__
    return isinstance(module, nn.Identity) or name.startswith(("Dropout", "DropPath")) or name.endswith("Pad2d")


def _follow_words(numbers: list[Tensor], words: list[Tensor], *, strings: bool) -> Callable[..., Any]:
    """Make a hook that marks what an embedding gives for the caller's own integers; positions are not the caller's.

    Where the caller gave strings, which become integers inside, all integers but positions and token types count.
    """

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor | None:
        ids = next(tensors_in((args, kwargs)))
        if not any(_same(ids, number) for number in numbers) and not (strings and _varies(ids)):
            return None
        words.append(output.detach().requires_grad_())
        return words[-1].clone()

    return hook


def _same(ids: Tensor, number: Tensor) -> bool:
    if ids.untyped_storage().data_ptr() == number.untyped_storage().data_ptr():
        return True
    return ids.numel() == number.numel() and torch.equal(ids.flatten(), number.flatten().to(ids))


def _varies(ids: Tensor) -> bool:
    """Say whether integers are neither counted one by one, as positions are, nor all alike, as token types are."""
    steps = ids.reshape(-1, ids.shape[-1])[0].diff() if ids.ndim else ids
    return not bool((steps == 1).all()) and bool(steps.count_nonzero())


def _judge(seen: Capture, values: Tensor, inputs: _Inputs, own: Any) -> tuple[list[Candidate], str]:
    bits = _hanging(seen, inputs)
    if len(inputs.pictures) > 1:
        _by_picture(seen, inputs, bits)
    records = [record for name in seen.records for record in seen.records[name]]
    if not values.requires_grad or not records:
        raise GradientError(
            "the score depends on no layer with at least three dimensions: name target_layers, or check that the score "
            "is computed from the model's output without .detach() or torch.no_grad()"
        )
    leaves = list(inputs.leaves.values())
    taken = differentiate(values, [*(one.activation for one in records), *leaves], retain_graph=True)
    gradients = {id(record): gradient for record, gradient in zip(records, taken, strict=False)}
    found, batches = _list(seen, values, inputs, bits, gradients)
    inferred = {one.name: one.layout for one in found if own_layout(seen, one.name) is None}
    kept = in_place(seen.root, seen, inferred, inputs.given) if inferred else set()
    found = [one for one in found if one.name in kept or one.name not in inferred or one.name == own]
    best, refusal = next((one for one in found if one.name == own), None), ""
    if best is None:
        of_first = [one for one in found if _is_of_first(seen.records[one.name][0])]
        of_leaves = dict(zip(leaves, taken[len(records) :], strict=True))
        trace = _trace(seen, values, inputs, of_leaves, gradients, kept)
        best, refusal = choose(of_first, trace)
        if best is None and not refusal:
            refusal = _say_why(batches, len(values))
    used = {name for name, calls in seen.records.items() if any(gradients[id(one)] is not None for one in calls)}
    return _plain([replace(one, chosen=one is best) for one in found], used), refusal


def _is_of_first(record: Record) -> bool:
    return record.picture in {None, 0}


def _trace(
    seen: Capture,
    values: Tensor,
    inputs: _Inputs,
    of_leaves: dict[Tensor, Tensor | None],
    gradients: dict[int, Tensor | None],
    kept: set[str],
) -> Trace:
    """Gather the way from the score to the first picture; without one in the graph, to what first looked at it."""
    records = {
        name: [
            (record, gradient)
            for record in calls
            if _is_of_first(record) and (gradient := gradients[id(record)]) is not None
        ]
        for name, calls in seen.records.items()
    }
    first = [leaf for number, leaf in inputs.leaves.items() if number == 0 or not inputs.pictures]
    if first:
        return Trace(values, records, first, of_leaves[first[0]] if inputs.pictures else None)
    begins = {
        name: [record.activation for record, _ in calls if record.activation.is_leaf] for name, calls in records.items()
    }
    in_place = [leaf for name in kept for leaf in begins[name]]
    return Trace(values, records, in_place or [leaf for found in begins.values() for leaf in found], None)


def _hanging(seen: Capture, inputs: _Inputs) -> dict[int, tuple[bool, bool | None]]:
    """Say of each record, by its id, whether it hangs on a picture and on words; None where there are no words."""
    records = [record for calls in seen.records.values() for record in calls]
    marks = {id(leaf): 1 for leaf in inputs.leaves.values()} | {id(word): 2 for word in inputs.words}
    found = hangs_on((record.activation for record in records), marks)
    return {
        id(record): (bool(bits & 1), bool(bits & 2) if inputs.words else None)
        for record, bits in zip(records, found, strict=True)
    }


def _by_picture(seen: Capture, inputs: _Inputs, bits: dict[int, tuple[bool, bool | None]]) -> None:
    """Drop calls that depend on no picture, sort the others by picture, and record the picture of each call."""
    if inputs.leaves:
        for name, calls in list(seen.records.items()):
            seen.records[name] = [record for record in calls if bits[id(record)][0]]
    owners = find_owners(seen.root, seen, inputs.given, inputs.pictures, inputs.leaves)
    before = {record.activation: bits[id(record)] for calls in seen.records.values() for record in calls}
    arrange(seen, owners)
    bits |= {id(record): before[record.activation] for calls in seen.records.values() for record in calls}


def _list(
    seen: Capture,
    values: Tensor,
    inputs: _Inputs,
    bits: dict[int, tuple[bool, bool | None]],
    gradients: dict[int, Tensor | None],
) -> tuple[list[Candidate], dict[str, list[int]]]:
    """List what looks like a grid, and the batches of layers that see another number of samples than there are."""
    found: list[Candidate] = []
    batches: dict[str, list[int]] = {}
    follow_pictures = any(from_picture for from_picture, _ in bits.values())
    for name in dict.fromkeys(seen.order):
        calls = seen.records[name]
        layout = _grid_layout(seen, name) if calls else None
        if layout is None or (follow_pictures and not bits[id(calls[0])][0]):
            continue
        grid = cells_of(calls[0].activation.detach(), layout, calls[0].rows)
        if grid.shape[2] * grid.shape[3] == 1:
            continue
        if grid.shape[0] != len(values):
            if any(gradients[id(record)] is not None for record in calls):
                batches[name] = [len(record.activation) for record in calls]
            continue
        height, width = placed(grid[:, 0], layout).shape[1:]
        found.append(
            Candidate(
                name=name,
                type=type(seen.layers[name]).__name__,
                grid=(height, width),
                channels=grid.shape[1],
                layout=layout,
                calls=len(calls),
                gradient_reaches=any(_touches(gradients[id(record)], layout) for record in calls),
                mixes_text=bits[id(calls[0])][1],
                pictures=tuple(
                    dict.fromkeys(inputs.pictures[one.picture].name for one in calls if one.picture is not None)
                ),
            )
        )
    return found, batches


def _grid_layout(seen: Capture, name: str) -> AnyLayout | None:
    record = seen.records[name][0]
    try:
        layout = own_layout(seen, name)
        if layout is None or isinstance(layout, Layout):
            layout = infer_layout(
                record.activation, module=seen.layers[name], model=seen.root, image_size=record.image_size, given=layout
            )
        to_grid(record.activation.detach(), layout)
    except InputError:
        return None
    return layout


def _touches(gradient: Tensor | None, layout: AnyLayout) -> bool:
    if gradient is None:
        return False
    try:
        return bool(to_grid(gradient, layout).count_nonzero())
    except InputError:  # a call on a picture of another size
        return False


def _plain(found: Sequence[Candidate], used: set[str]) -> list[Candidate]:
    """Name a layer alone where only one part of what it gives is in the score's graph: then that is what is meant."""
    parts: dict[str, list[str]] = {}
    for one in found:
        if one.name in used:
            parts.setdefault(split_part(one.name)[0], []).append(one.name)
    alone = {names[0]: layer for layer, names in parts.items() if len(names) == 1}
    return [replace(one, name=alone.get(one.name, one.name)) for one in found]


def _say_why(batches: dict[str, list[int]], samples: int) -> str:
    """Say why there is nothing to choose from, where layers see another number of samples than the score has."""
    if not batches:
        return ""
    name, calls = list(batches.items())[-1]
    what = other_batch(samples, calls)
    return f"target_layers: no layer sees one batch of all samples; layer {name!r} {what}" if what else ""
