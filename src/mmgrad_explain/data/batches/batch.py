"""The batch of a training step: images with their edits as arrays, and the same as tensors for a model."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mmgrad_explain.data.batches.facts import Facts, join_facts
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmgrad_explain.composers.contract import TrainingProcessor

    Mask: TypeAlias = npt.NDArray[np.bool_] | npt.NDArray[np.float32]

IGNORE = 255
"""Value of unknown pixels in a label map."""

MARKED = 0.5
"""Least value at which a soft mask marks a place, where a figure or a choice needs a yes or no."""


@dataclass(frozen=True)
class WholeBatch:
    """What a part of a batch has to know of all of it.

    Attributes:
        edits: Kind of each edit, ``M``.
        supervised: Whether its region is known, ``(M,)`` bool.
        unmoved: Whether its object is in the same place in both images, ``(M,)`` bool.
        part: Indices of the part's edits in the whole batch, ``(N,)`` int64.
    """

    edits: list[str]
    supervised: Tensor
    unmoved: Tensor
    part: Tensor


@dataclass(frozen=True)
class ImageBatch:
    """``S`` reference images with ``N`` edits of them, as arrays, from a source of training data.

    Attributes:
        references: ``(S, H, W, 3)`` uint8.
        targets: ``(N, H, W, 3)`` uint8.
        reference_masks: The edited region in the reference, ``(N, H, W)`` bool, or float32 in [0, 1] where masks are
            soft.
        target_masks: The edited region in the target, likewise.
        texts: Modifier texts, ``N``.
        edits: Kind of each edit, ``N``.
        picture: Index of each edit's reference, ``(N,)`` int64.
        partner: Index of another edit of the same reference with a disjoint region, ``(N,)`` int64; -1 where there is
            none.
        supervised: Whether the region of an edit is known, ``(N,)`` bool.
        reference_labels: Label maps ``(S, H, W)`` uint8 by name: 0 is background, :data:`IGNORE` unknown.
        target_labels: Likewise ``(N, H, W)``.
        context_masks: Other objects that a text names, in the reference, ``(N, H, W)`` bool: the ring in "the star left
            of the ring". Empty where there is none; None if the source does not know.
        facts: What the images show and the texts ask for; None if the source does not know.
        whole: The batch that this is a part of; None for all of a step.
        paraphrases: Another text for each edit that asks for the same of the same images, ``N``; empty where there is
            none. None if the source has none. Maps of a text and of its paraphrase should be alike.
        mirrorable: Whether a text means the same if its images are mirrored, ``(N,)`` bool: false if it names a side.
            None if the source does not know.
        reference_ids: Numbers of the references, ``(S,)`` int64: images with one number are the same image, or equally
            right answers, and no negatives of each other; -1 is unlike every other. None if all images differ.
        target_ids: Numbers of the targets, ``(N,)`` int64, likewise.
    """

    references: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.uint8]
    reference_masks: Mask
    target_masks: Mask
    texts: list[str]
    edits: list[str]
    picture: npt.NDArray[np.int64]
    partner: npt.NDArray[np.int64]
    supervised: npt.NDArray[np.bool_]
    reference_labels: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    target_labels: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    context_masks: npt.NDArray[np.bool_] | None = None
    facts: Facts | None = None
    whole: WholeBatch | None = None
    paraphrases: list[str] | None = None
    mirrorable: npt.NDArray[np.bool_] | None = None
    reference_ids: npt.NDArray[np.int64] | None = None
    target_ids: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class TripletBatch:
    """An :class:`ImageBatch` as a model takes it; texts, edits and indices mean the same.

    Attributes:
        references: ``(S, 3, H, W)`` float32, normalised.
        targets: ``(N, 3, H, W)`` float32, normalised.
        reference_masks: ``(N, H, W)`` bool, or float32 in [0, 1].
        target_masks: Likewise.
        input_ids: ``(N, L)``.
        attention_mask: ``(N, L)``.
        texts: ``N``.
        edits: ``N``.
        picture: ``(N,)``.
        partner: ``(N,)``.
        supervised: ``(N,)`` bool.
        reference_labels: Name to ``(S, H, W)`` uint8.
        target_labels: Name to ``(N, H, W)`` uint8.
        context_masks: ``(N, H, W)`` bool, or None.
        facts: Likewise, or None.
        whole: The batch that this is a part of; None for all of a step. It stays on the CPU.
        paraphrase_ids: The paraphrases, ``(N, L')``; None if there are none.
        paraphrase_attention: ``(N, L')``, or None.
        paraphrased: Which edits have a paraphrase, ``(N,)`` bool, or None.
        mirrorable: ``(N,)`` bool, or None.
        reference_ids: ``(S,)``, or None.
        target_ids: ``(N,)``, or None.
    """

    references: Tensor
    targets: Tensor
    reference_masks: Tensor
    target_masks: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    texts: list[str]
    edits: list[str]
    picture: Tensor
    partner: Tensor
    supervised: Tensor
    reference_labels: dict[str, Tensor] = field(default_factory=dict)
    target_labels: dict[str, Tensor] = field(default_factory=dict)
    context_masks: Tensor | None = None
    facts: Facts | None = None
    whole: WholeBatch | None = None
    paraphrase_ids: Tensor | None = None
    paraphrase_attention: Tensor | None = None
    paraphrased: Tensor | None = None
    mirrorable: Tensor | None = None
    reference_ids: Tensor | None = None
    target_ids: Tensor | None = None

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> TripletBatch:
        """Move the batch to another device."""

        def moved(value: Any) -> Any:
            if isinstance(value, Tensor | Facts):
                return value.to(device, non_blocking=non_blocking)
            return {name: moved(one) for name, one in value.items()} if isinstance(value, dict) else value

        return replace(self, **{f.name: moved(getattr(self, f.name)) for f in fields(self)})

    def pin_memory(self) -> TripletBatch:
        """Copy the batch to page-locked memory, for data loaders."""
        pinned: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Tensor):
                pinned[each.name] = value.pin_memory()
        return replace(self, **pinned)


def encode_batch(batch: ImageBatch, encoder: TrainingProcessor) -> TripletBatch:
    """Make the tensors of a batch.

    Args:
        batch: As a source of training data gives it.
        encoder: Tokenizes the texts and normalises the images.
    """
    input_ids, attention_mask = encoder.encode_texts(batch.texts)
    again: tuple[Tensor | None, Tensor | None, Tensor | None] = None, None, None
    if batch.paraphrases is not None and any(batch.paraphrases):
        pairs = list(zip(batch.paraphrases, batch.texts, strict=True))
        same = encoder.encode_texts([other or text for other, text in pairs])
        again = (*same, torch.tensor([bool(other) for other, _ in pairs]))
    return TripletBatch(
        references=encoder.normalise(batch.references),
        targets=encoder.normalise(batch.targets),
        reference_masks=torch.from_numpy(batch.reference_masks),
        target_masks=torch.from_numpy(batch.target_masks),
        input_ids=input_ids,
        attention_mask=attention_mask,
        texts=batch.texts,
        edits=batch.edits,
        picture=torch.from_numpy(batch.picture),
        partner=torch.from_numpy(batch.partner),
        supervised=torch.from_numpy(batch.supervised),
        reference_labels={name: torch.from_numpy(one) for name, one in batch.reference_labels.items()},
        target_labels={name: torch.from_numpy(one) for name, one in batch.target_labels.items()},
        context_masks=_tensor(batch.context_masks),
        facts=batch.facts,
        whole=batch.whole,
        paraphrase_ids=again[0],
        paraphrase_attention=again[1],
        paraphrased=again[2],
        mirrorable=_tensor(batch.mirrorable),
        reference_ids=_tensor(batch.reference_ids),
        target_ids=_tensor(batch.target_ids),
    )


def _tensor(values: npt.NDArray[Any] | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(values)


def _at(values: npt.NDArray[Any] | None, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any] | None:
    return None if values is None else values[rows]


def take_images(batch: ImageBatch, images: npt.NDArray[np.int64]) -> ImageBatch:
    """Take some reference images of a batch with all of their edits, in the batch's order.

    Args:
        batch: All of a step.
        images: Indices of the references, ascending.
    """
    own = np.flatnonzero(np.isin(batch.picture, images))
    new_index = np.full(len(batch.texts), -1, np.int64)
    new_index[own] = np.arange(len(own))
    before, after = (torch.from_numpy(masks) for masks in (batch.reference_masks, batch.target_masks))
    known = torch.from_numpy(batch.supervised)
    return ImageBatch(
        references=batch.references[images],
        targets=batch.targets[own],
        reference_masks=batch.reference_masks[own],
        target_masks=batch.target_masks[own],
        texts=[batch.texts[i] for i in own],
        edits=[batch.edits[i] for i in own],
        picture=np.searchsorted(images, batch.picture[own]),
        partner=np.where(batch.partner[own] < 0, -1, new_index[batch.partner[own]]),
        supervised=batch.supervised[own],
        reference_labels={name: labels[images] for name, labels in batch.reference_labels.items()},
        target_labels={name: labels[own] for name, labels in batch.target_labels.items()},
        context_masks=_at(batch.context_masks, own),
        facts=None if batch.facts is None else batch.facts.take(torch.from_numpy(images), torch.from_numpy(own)),
        whole=WholeBatch(batch.edits, known, find_unmoved(before, after, batch.edits, known), torch.from_numpy(own)),
        paraphrases=None if batch.paraphrases is None else [batch.paraphrases[i] for i in own],
        mirrorable=_at(batch.mirrorable, own),
        reference_ids=_at(batch.reference_ids, images),
        target_ids=_at(batch.target_ids, own),
    )


def find_unmoved(before: Tensor, after: Tensor, edits: Sequence[str], supervised: Tensor) -> Tensor:
    """Find the edits with the object in the same place in both images, ``(N,)`` bool: IoU above one half.

    Args:
        before: The edited region in the reference, ``(N, H, W)`` bool, or in [0, 1].
        after: The same in the target.
        edits: Kind of each edit, ``N``.
        supervised: Whether its region is known, ``(N,)`` bool.
    """
    if before.dtype == after.dtype == torch.bool:
        both, either = (before & after).sum((1, 2)), (before | after).sum((1, 2))
    else:
        both, either = torch.minimum(before, after).sum((1, 2)), torch.maximum(before, after).sum((1, 2))
    gone = torch.tensor([edit in {"add", "remove"} for edit in edits], device=both.device)
    return (2 * both > either) & supervised & ~gone


def join_batches(batches: Sequence[ImageBatch]) -> ImageBatch:
    """Join several batches; label maps that a batch lacks are unknown there.

    Raises:
        InputError: The images have different sizes.
    """
    if len(batches) == 1:
        return batches[0]
    sizes = {batch.references.shape[1:3] for batch in batches}
    if len(sizes) > 1:
        raise InputError(f"sources must give images of one size to be mixed in a batch, not {sorted(sizes)}")
    images = np.cumsum([0, *(len(batch.references) for batch in batches)])
    edits = np.cumsum([0, *(len(batch.texts) for batch in batches)])
    names = sorted({name for batch in batches for name in batch.reference_labels})
    return ImageBatch(
        references=np.concatenate([batch.references for batch in batches]),
        targets=np.concatenate([batch.targets for batch in batches]),
        reference_masks=np.concatenate([batch.reference_masks for batch in batches]),
        target_masks=np.concatenate([batch.target_masks for batch in batches]),
        texts=[text for batch in batches for text in batch.texts],
        edits=[edit for batch in batches for edit in batch.edits],
        picture=np.concatenate([b.picture + start for b, start in zip(batches, images, strict=False)]),
        partner=np.concatenate(
            [np.where(b.partner < 0, -1, b.partner + start) for b, start in zip(batches, edits, strict=False)]
        ),
        supervised=np.concatenate([batch.supervised for batch in batches]),
        reference_labels={n: _labels([(b.reference_labels, b.references) for b in batches], n) for n in names},
        target_labels={n: _labels([(b.target_labels, b.targets) for b in batches], n) for n in names},
        context_masks=_context(batches),
        facts=join_facts([b.facts for b in batches], [(len(b.references), len(b.texts)) for b in batches]),
        **_join_texts(batches),
        **_join_ids(batches),
    )


def _join_texts(batches: Sequence[ImageBatch]) -> dict[str, Any]:
    """Join what is known of the texts; the texts of the other batches have no paraphrase and are not mirrored."""
    found: dict[str, Any] = {}
    if any(b.paraphrases is not None for b in batches):
        found["paraphrases"] = [one for b in batches for one in b.paraphrases or [""] * len(b.texts)]
    if any(b.mirrorable is not None for b in batches):
        every = [np.zeros(len(b.texts), bool) if b.mirrorable is None else b.mirrorable for b in batches]
        found["mirrorable"] = np.concatenate(every)
    return found


def _join_ids(batches: Sequence[ImageBatch]) -> dict[str, Any]:
    """Join the numbers of images; each batch has its own, and images of the others differ from all."""
    first, of_references, of_targets = 0, [], []
    for batch in batches:
        parts = [
            np.full(count, -1, np.int64) if ids is None else np.where(ids < 0, -1, ids + first)
            for ids, count in ((batch.reference_ids, len(batch.references)), (batch.target_ids, len(batch.texts)))
        ]
        of_references.append(parts[0])
        of_targets.append(parts[1])
        first = max(first, *(int(part.max(initial=-1)) + 1 for part in parts))
    if not first:
        return {}
    return {"reference_ids": np.concatenate(of_references), "target_ids": np.concatenate(of_targets)}


def _context(batches: Sequence[ImageBatch]) -> npt.NDArray[np.bool_] | None:
    if all(batch.context_masks is None for batch in batches):
        return None
    return np.concatenate(
        [np.zeros_like(b.reference_masks, bool) if b.context_masks is None else b.context_masks for b in batches]
    )


def _labels(
    parts: Sequence[tuple[dict[str, npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]], name: str
) -> npt.NDArray[np.uint8]:
    unknown = [np.full(images.shape[:3], IGNORE, np.uint8) for _, images in parts]
    return np.concatenate([labels.get(name, none) for (labels, _), none in zip(parts, unknown, strict=True)])


def find_partners(masks: Mask, picture: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Find for each edit another one of the same image with a disjoint mask.

    Args:
        masks: ``(N, H, W)`` bool, or in [0, 1]: what is marked by at least one half.
        picture: ``(N,)``, index of the image of each.

    Returns:
        ``(N,)`` int64, the next such edit in cyclic order; -1 where there is none.
    """
    flat = masks.reshape(len(masks), -1) >= MARKED
    found = np.full(len(masks), -1, np.int64)
    for i in range(len(masks)):
        same = np.flatnonzero(picture == picture[i])
        for j in np.roll(same, -1 - int(np.flatnonzero(same == i)[0])):
            if j != i and flat[i].any() and flat[j].any() and not (flat[i] & flat[j]).any():
                found[i] = j
                break
    return found
