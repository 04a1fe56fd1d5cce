"""Which of a model's input pictures a layer's output hangs on, call by call and row by row."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.autograd_graph import hangs_on
from mmgrad_explain.attention.capture import Capture, Record
from mmgrad_explain.attention.layouts.detection import infer_layout
from mmgrad_explain.attention.layouts.layout import to_grid
from mmgrad_explain.attention.layouts.marked_places import FOUND, PLACES, invert, share_found
from mmgrad_explain.attention.structures import is_picture, map_tensors, tensors_in, ways_in
from mmgrad_explain.attention.undisturbed import same_randomness
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.result import Explanation
from mmgrad_explain.notes import Note, join_notes

# A row hangs on a picture where it changes by more than this share of the largest change: less is rounding.
_NOISE = 1e-3


@dataclass(frozen=True)
class Picture:
    """A picture that a model is called with.

    Attributes:
        name: Of the model's parameter; where that holds several, with the way to this one: ``batch[target]``.
        size: (H, W), pixels.
        index: Its place among the picture tensors of the arguments.
        batch: How many samples it has.
    """

    name: str
    size: tuple[int, int]
    index: int
    batch: int


@dataclass(frozen=True)
class Owner:
    """What the map of one call of a layer is a map of.

    Attributes:
        picture: Which of the input pictures the cells lie on.
        pictures: All that they hang on.
        rows: Which rows of the call's batch; None for all.
    """

    picture: int
    pictures: tuple[int, ...]
    rows: tuple[int, ...] | None = None


def pictures_in(root: nn.Module, inputs: Any) -> tuple[Picture, ...]:
    """List the pictures of a call in the order of the model's parameters, those in colour before those of one channel.

    Args:
        root: The model.
        inputs: (args, kwargs).
    """
    given = [tensor for tensor in tensors_in(inputs) if is_picture(tensor)]
    left = list(range(len(given)))
    found = []
    for name, tensor in _named(root, inputs):
        index = next((one for one in left if given[one] is tensor), None)
        if index is not None:
            left.remove(index)
            found.append(Picture(name, (tensor.shape[2], tensor.shape[3]), index, len(tensor)))
    return tuple(sorted(found, key=lambda one: given[one.index].shape[1] == 1))


def _named(root: nn.Module, inputs: Any) -> Iterator[tuple[str, Tensor]]:
    args, kwargs = inputs
    try:
        signature = inspect.signature(root.forward)
        bound: dict[str, Any] = dict(signature.bind_partial(*args, **kwargs).arguments)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                bound |= bound.pop(name, {})
    except (TypeError, ValueError):
        bound = {f"argument {number}": value for number, value in enumerate(args, 1)} | kwargs
    for name, value in bound.items():
        inside = [(way, tensor) for way, tensor in ways_in(value, name) if is_picture(tensor)]
        for way, tensor in inside:
            yield name if len(inside) == 1 else way, tensor


def change_pictures(inputs: Any, change: Mapping[int, Callable[[Tensor], Tensor]]) -> Any:
    """Give a call's inputs with some pictures changed: index among the picture tensors to a function of one."""
    count = -1

    def changed(tensor: Tensor) -> Tensor:
        nonlocal count
        if not is_picture(tensor):
            return tensor
        count += 1
        return change[count](tensor) if count in change else tensor

    return map_tensors(inputs, changed)


def follow(inputs: Any, pictures: Sequence[Picture]) -> tuple[Any, dict[int, Tensor]]:
    """Give a call's inputs with pictures that can be found again in a graph.

    Returns:
        The inputs, and the leaf of each picture by its place in ``pictures``; those of whole numbers have none.
    """
    leaves: dict[int, Tensor] = {}

    def watch(number: int) -> Callable[[Tensor], Tensor]:
        def watched(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            leaves[number] = tensor.detach().requires_grad_()
            return leaves[number].clone()

        return watched

    return change_pictures(inputs, {one.index: watch(number) for number, one in enumerate(pictures)}), leaves


def find_owners(
    root: nn.Module,
    seen: Capture,
    inputs: Any,
    pictures: Sequence[Picture],
    leaves: Mapping[int, Tensor],
    *,
    split: bool = True,
) -> dict[str, list[list[Owner]]]:
    """Say of every call of every layer which picture its cells lie on.

    The graph says it for a call that hangs on one picture. Where it does not, because a call hangs on several, sees
    them in one batch or has no graph, the model runs once more for each picture, with a place of it marked.

    Args:
        root: The model, undisturbed.
        seen: What its layers gave for the pictures of :func:`follow`.
        inputs: (args, kwargs) of the call, as the model has not seen them yet.
        pictures: What :func:`pictures_in` found.
        leaves: As :func:`follow` gave them.
        split: Whether rows of several pictures are told apart; a layout of the caller's may put them together itself.

    Returns:
        Layer to one list of owners a call; several where the call has rows of several pictures.
    """
    records = [record for calls in seen.records.values() for record in calls]
    marks = {id(leaf): 1 << number for number, leaf in leaves.items()}
    bits = dict(zip(map(id, records), hangs_on((one.activation for one in records), marks), strict=True))
    batch = pictures[0].batch
    one_each = {1 << bit: bit for bit in range(len(pictures))}
    found: dict[str, list[list[Owner]]] = {}
    unsure: list[str] = []
    for name, calls in seen.records.items():
        sure = [bits[id(one)] in one_each and len(one.activation) == batch for one in calls]
        found[name] = [
            [Owner(one_each[bits[id(one)]], (one_each[bits[id(one)]],))] if is_sure else []
            for one, is_sure in zip(calls, sure, strict=True)
        ]
        if not all(sure):
            unsure.append(name)
    if unsure:
        changes = [_changes(root, seen, unsure, change_pictures(inputs, {one.index: _marked})) for one in pictures]
        for name in unsure:
            for call, record in enumerate(seen.records[name]):
                if not found[name][call]:
                    of_pictures = [change[name][call] for change in changes]
                    found[name][call] = _owners(seen, name, record, of_pictures, batch if split else 0)
    return found


def _marked(picture: Tensor) -> Tensor:
    return invert(picture, PLACES[0])


def _changes(root: nn.Module, seen: Capture, names: Sequence[str], inputs: Any) -> dict[str, list[Tensor | None]]:
    """How each record changes for other pictures; None for one whose call is another then."""
    args, kwargs = inputs
    layers = {name: seen.layers[name] for name in names}
    with same_randomness(list(root.parameters()), inputs), torch.no_grad(), seen.alike(layers) as again:
        root(*args, **kwargs)
    found: dict[str, list[Tensor | None]] = {}
    for name in names:
        before, after = seen.records[name], again.records[name]
        same = len(before) == len(after)
        found[name] = [
            after[call].activation.detach().float() - one.activation.detach().float()
            if same and after[call].activation.shape == one.activation.shape
            else None
            for call, one in enumerate(before)
        ]
    return found


def _owners(seen: Capture, name: str, record: Record, changes: Sequence[Tensor | None], batch: int) -> list[Owner]:
    told = [change for change in changes if change is not None]
    if len(told) < len(changes):
        return [Owner(0, tuple(range(len(changes))))]
    moved = torch.stack([change.flatten(1).abs().amax(1) for change in told]).cpu()
    hit = moved > _NOISE * moved.max()
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, of_row in enumerate(hit.T):
        rows.setdefault(tuple(of_row.nonzero().flatten().tolist()), []).append(row)
    groups = {pattern: members for pattern, members in rows.items() if pattern}
    if len(groups) < 2 or not all(len(members) == batch for members in groups.values()):
        groups = {tuple(sorted({picture for one in groups for picture in one})): list(range(hit.shape[1]))}
    return [
        Owner(
            _lies_on(seen, name, record, [change[members] for change in told], pattern),
            pattern,
            tuple(members) if len(groups) > 1 else None,
        )
        for pattern, members in groups.items()
    ]


def _lies_on(seen: Capture, name: str, record: Record, changes: Sequence[Tensor], pattern: tuple[int, ...]) -> int:
    """Of several pictures that cells hang on they lie on the first whose marked place is found again."""
    first = pattern[0] if pattern else 0
    if len(pattern) > 1:
        try:
            layout = infer_layout(
                record.activation, module=seen.layers[name], model=seen.root, image_size=record.image_size
            )
        except InputError:
            return first
        for picture in pattern:
            if not share_found(to_grid(changes[picture], layout).square().sum(1), PLACES[0]) < FOUND:
                return picture
    return first


def arrange(seen: Capture, owners: Mapping[str, Sequence[Sequence[Owner]]]) -> None:
    """Order a capture's records by the picture that they lie on, one record for each picture of a call."""
    for name, calls in seen.records.items():
        each = [
            (owner, replace(record, rows=owner.rows, picture=owner.picture, pictures=owner.pictures))
            for record, of_call in zip(calls, owners[name], strict=True)
            for owner in of_call
        ]
        seen.records[name] = [record for _, record in sorted(each, key=lambda one: one[0].picture)]


class Whose:
    """Finds out once for each kind of call which picture each call of a layer belongs to, and remembers it."""

    def __init__(self, root: nn.Module, *, split: bool) -> None:
        """Remember the model; ``split`` is as for :func:`find_owners`."""
        self._root = root
        self._split = split
        self._known: dict[tuple[Picture, ...], dict[str, list[list[Owner]]]] = {}
        self._leaves: dict[int, Tensor] = {}

    def follow(self, inputs: Any) -> tuple[Any, tuple[Picture, ...]]:
        """Give a call's inputs, with several pictures that can be found again where that is needed; and the pictures.

        Args:
            inputs: (args, kwargs).
        """
        pictures = pictures_in(self._root, inputs)
        if len(pictures) < 2 or pictures in self._known:
            return inputs, pictures
        followed, self._leaves = follow(inputs, pictures)
        return followed, pictures

    def arrange(self, seen: Capture, inputs: Any, pictures: tuple[Picture, ...]) -> None:
        """Order the records of a call by picture, where there are several.

        Args:
            seen: What was recorded of the inputs that :meth:`follow` gave.
            inputs: (args, kwargs), as they came.
            pictures: What :meth:`follow` found.

        Raises:
            CaptureError: a layer never ran.
        """
        if len(pictures) < 2:
            return
        known = self._known.get(pictures)
        if known is None or any(len(known[name]) != len(seen.calls(name)) for name in seen.records):
            known = find_owners(self._root, seen, inputs, pictures, self._leaves, split=self._split)
            self._known[pictures] = known
        self._leaves = {}
        arrange(seen, known)


def lies_on(seen: Capture) -> dict[str, list[int]] | None:
    """Give the picture of each record that :func:`arrange` ordered; None where there are not several pictures."""
    found = {name: [record.picture for record in calls] for name, calls in seen.records.items()}
    if any(picture is None for pictures in found.values() for picture in pictures):
        return None
    return {name: [picture for picture in pictures if picture is not None] for name, pictures in found.items()}


def say_whose(explanation: Explanation, seen: Capture, pictures: Sequence[Picture]) -> Explanation:
    """Say in a result what its maps are maps of, and note what a reader would not expect."""
    if not pictures:
        return explanation
    names = [one.name for one in pictures]
    notes: list[Note] = []

    def say(text: str) -> None:
        notes.append(Note("whose-map", text))

    lies = explanation.lies_on or (0,) * len(explanation.calls)
    first = lies[0]
    for name, calls in seen.records.items():
        for record in {record.pictures: record for record in calls if len(record.pictures) > 1}.values():
            all_of_them = " and ".join(names[one] for one in record.pictures)
            say(f"layer {name!r} hangs on {all_of_them}; its cells are drawn on {names[record.picture or 0]}")
        if first not in {record.picture for record in calls if len(pictures) > 1} and len(pictures) > 1:
            say(f"layer {name!r} does not run on {names[first]} and has no part in its map")
    others = [one for one, calls in enumerate(explanation.calls) if one and lies[one] == first and bool(calls.any())]
    if others:
        say(f"the layer ran {1 + len(others)} times on {names[first]}: the map is of its first call")
    if first:
        say(f"the map is of {names[first]}: the layer does not depend on {names[0]}")
    return replace(
        explanation,
        pictures=tuple(names),
        sizes=tuple(one.size for one in pictures),
        lies_on=lies,
        notes=join_notes((*explanation.notes, *notes), len(explanation)),
    )
