"""Find out which of several input images the cells of a layer belong to, call by call and row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mmgrad_explain.attention.layouts.detection import detect_layout
from mmgrad_explain.attention.layouts.layout import to_grid
from mmgrad_explain.attention.places.marked_places import FOUND, PLACES, invert_place, share_found
from mmgrad_explain.attention.recording.capture import Capture
from mmgrad_explain.attention.recording.records import Record
from mmgrad_explain.attention.running.autograd_graph import find_leaves_below
from mmgrad_explain.attention.running.input_images import InputImage, change_images, find_input_images, make_leaves
from mmgrad_explain.attention.running.undisturbed import same_randomness
from mmgrad_explain.explanation.result import Explanation
from mmgrad_explain.notes import Note, join_notes

# A row depends on an image if it changes by more than this share of the largest change; less is rounding.
_NOISE = 1e-3


@dataclass(frozen=True)
class Owner:
    """The image that rows of one call of a layer belong to.

    Attributes:
        image: Which of the input images the cells belong to.
        images: All input images that the cells depend on.
        rows: Which rows of the call's batch; None for all.
    """

    image: int
    images: tuple[int, ...]
    rows: tuple[int, ...] | None = None


def find_owners(
    root: nn.Module,
    seen: Capture,
    inputs: Any,
    images: Sequence[InputImage],
    leaves: Mapping[int, Tensor],
    *,
    split: bool = True,
) -> dict[str, list[list[Owner]]]:
    """Find for every call of every layer the image that its cells belong to.

    The graph shows it for a call that depends on one image. A call may depend on several images, see them in one batch,
    or have no graph; the model then runs once more for each image, with a place of that image marked.

    Args:
        root: The model, undisturbed.
        seen: What its layers returned for the images of :func:`make_leaves`.
        inputs: (args, kwargs) of the call, before :func:`make_leaves`.
        images: The result of :func:`find_input_images`.
        leaves: The leaves that :func:`make_leaves` returned.
        split: Whether to separate rows of several images; a layout of the caller's may combine them itself.

    Returns:
        Layer to one list of owners a call; several owners where the call has rows of several images.
    """
    records = [record for calls in seen.records.values() for record in calls]
    marks = {id(leaf): 1 << number for number, leaf in leaves.items()}
    below = find_leaves_below((record.activation for record in records), marks)
    bits = dict(zip(map(id, records), below, strict=True))
    batch = images[0].batch
    image_of_bits = {1 << number: number for number in range(len(images))}
    found: dict[str, list[list[Owner]]] = {}
    unsure: list[str] = []
    for name, calls in seen.records.items():
        sure = [bits[id(record)] in image_of_bits and len(record.activation) == batch for record in calls]
        found[name] = [
            [Owner(image_of_bits[bits[id(record)]], (image_of_bits[bits[id(record)]],))] if is_sure else []
            for record, is_sure in zip(calls, sure, strict=True)
        ]
        if not all(sure):
            unsure.append(name)
    if unsure:
        changes = [
            _measure_changes(root, seen, unsure, change_images(inputs, {image.index: _mark})) for image in images
        ]
        for name in unsure:
            for call, record in enumerate(seen.records[name]):
                if not found[name][call]:
                    of_images = [change[name][call] for change in changes]
                    found[name][call] = _find_owners_of_rows(seen, name, record, of_images, batch if split else 0)
    return found


def _mark(image: Tensor) -> Tensor:
    return invert_place(image, PLACES[0])


def _measure_changes(
    root: nn.Module, seen: Capture, names: Sequence[str], inputs: Any
) -> dict[str, list[Tensor | None]]:
    """Measure how each record changes for other inputs; None where the layer's calls differ."""
    args, kwargs = inputs
    layers = {name: seen.layers[name] for name in names}
    with same_randomness(list(root.parameters()), inputs), torch.no_grad(), seen.record_again(layers) as again:
        root(*args, **kwargs)
    found: dict[str, list[Tensor | None]] = {}
    for name in names:
        before, after = seen.records[name], again.records[name]
        same_calls = len(before) == len(after)
        found[name] = [
            after[call].activation.detach().float() - record.activation.detach().float()
            if same_calls and after[call].activation.shape == record.activation.shape
            else None
            for call, record in enumerate(before)
        ]
    return found


def _find_owners_of_rows(
    seen: Capture, name: str, record: Record, changes: Sequence[Tensor | None], batch: int
) -> list[Owner]:
    measured = [change for change in changes if change is not None]
    if len(measured) < len(changes):
        return [Owner(0, tuple(range(len(changes))))]
    moved = torch.stack([change.flatten(1).abs().amax(1) for change in measured]).cpu()
    depends = moved > _NOISE * moved.max()
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, of_row in enumerate(depends.T):
        rows.setdefault(tuple(of_row.nonzero().flatten().tolist()), []).append(row)
    groups = {images: members for images, members in rows.items() if images}
    if len(groups) < 2 or not all(len(members) == batch for members in groups.values()):
        every_image = tuple(sorted({image for images in groups for image in images}))
        groups = {every_image: list(range(depends.shape[1]))}
    return [
        Owner(
            _find_image_of_cells(seen, name, record, [change[members] for change in measured], images),
            images,
            tuple(members) if len(groups) > 1 else None,
        )
        for images, members in groups.items()
    ]


def _find_image_of_cells(
    seen: Capture, name: str, record: Record, changes: Sequence[Tensor], images: tuple[int, ...]
) -> int:
    """Find the first of several images whose marked place is found again in the cells."""
    first = images[0] if images else 0
    if len(images) > 1:
        layout = detect_layout(
            record.activation, module=seen.layers[name], model=seen.root, image_size=record.image_size
        )
        if layout is None:
            return first
        for image in images:
            if not share_found(to_grid(changes[image], layout).square().sum(1), PLACES[0]) < FOUND:
                return image
    return first


def sort_by_image(seen: Capture, owners: Mapping[str, Sequence[Sequence[Owner]]]) -> None:
    """Sort the records of a capture by the image that they belong to, one record for each image of a call."""
    for name, calls in seen.records.items():
        pairs = [
            (owner, replace(record, rows=owner.rows, image=owner.image, images=owner.images))
            for record, of_call in zip(calls, owners[name], strict=True)
            for owner in of_call
        ]
        seen.records[name] = [record for _, record in sorted(pairs, key=lambda pair: pair[0].image)]


class ImageOwners:
    """Finds once for each kind of call the image that each call of a layer belongs to, and remembers it."""

    def __init__(self, root: nn.Module, *, split: bool) -> None:
        """Remember the model.

        Args:
            root: The unwrapped model.
            split: As for :func:`find_owners`.
        """
        self._root = root
        self._split = split
        self._known: dict[tuple[InputImage, ...], dict[str, list[list[Owner]]]] = {}
        self._leaves: dict[int, Tensor] = {}

    def prepare(self, inputs: Any) -> tuple[Any, tuple[InputImage, ...]]:
        """Find the images of a call, and make them leaves where their owners are not known yet.

        Args:
            inputs: (args, kwargs).

        Returns:
            The inputs to call the model with, and their images.
        """
        images = find_input_images(self._root, inputs)
        if len(images) < 2 or images in self._known:
            return inputs, images
        prepared, self._leaves = make_leaves(inputs, images)
        return prepared, images

    def sort_records(self, seen: Capture, inputs: Any, images: tuple[InputImage, ...]) -> None:
        """Sort the records of a call by image, where there are several images.

        Args:
            seen: What was recorded of the inputs that :meth:`prepare` returned.
            inputs: (args, kwargs), before :meth:`prepare`.
            images: The images that :meth:`prepare` returned.

        Raises:
            CaptureError: a layer never ran.
        """
        if len(images) < 2:
            return
        known = self._known.get(images)
        if known is None or any(len(known[name]) != len(seen.calls(name)) for name in seen.records):
            known = find_owners(self._root, seen, inputs, images, self._leaves, split=self._split)
            self._known[images] = known
        self._leaves = {}
        sort_by_image(seen, known)


def images_of_records(seen: Capture) -> dict[str, list[int]] | None:
    """Return the image of each record that :func:`sort_by_image` sorted; None where there are not several images."""
    found = {name: [record.image for record in calls] for name, calls in seen.records.items()}
    if any(image is None for images in found.values() for image in images):
        return None
    return {name: [image for image in images if image is not None] for name, images in found.items()}


def name_images(explanation: Explanation, seen: Capture, images: Sequence[InputImage]) -> Explanation:
    """Add to an explanation the names of the images that its maps are of, and notes on what may surprise a reader."""
    if not images:
        return explanation
    names = [image.name for image in images]
    texts: list[str] = []
    image_of_calls = explanation.image_of_calls or (0,) * len(explanation.calls)
    first = image_of_calls[0]
    for name, calls in seen.records.items():
        for record in {record.images: record for record in calls if len(record.images) > 1}.values():
            all_images = " and ".join(names[image] for image in record.images)
            texts.append(f"layer {name!r} depends on {all_images}; its cells are drawn on {names[record.image or 0]}")
        if first not in {record.image for record in calls if len(images) > 1} and len(images) > 1:
            texts.append(f"layer {name!r} does not run on {names[first]} and has no part in its map")
    others = [
        call for call, maps in enumerate(explanation.calls) if call and image_of_calls[call] == first and maps.any()
    ]
    if others:
        texts.append(f"the layer ran {1 + len(others)} times on {names[first]}: the map is of its first call")
    if first:
        texts.append(f"the map is of {names[first]}: the layer does not depend on {names[0]}")
    notes = [Note("whose-map", text) for text in texts]
    return replace(
        explanation,
        image_names=tuple(names),
        image_sizes=tuple(image.size for image in images),
        image_of_calls=image_of_calls,
        notes=join_notes((*explanation.notes, *notes), len(explanation)),
    )
