"""Procedural scenes as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mmgrad_explain.data.scenes import SceneOptions, scenes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mmgrad_explain.composers.processor import ReferenceProcessor


@dataclass(frozen=True)
class SceneBatch:
    """``S`` scenes with ``E`` edits each, ``N = S * E`` triplets in scene order.

    Attributes:
        references: ``(S, 3, size, size)``, normalised.
        targets: ``(N, 3, size, size)``, normalised.
        reference_masks: ``(N, size, size)`` bool.
        target_masks: ``(N, size, size)`` bool.
        input_ids: ``(N, L)``.
        attention_mask: ``(N, L)``.
        edits: Kind of each edit.
        texts: Each text.
        subjects: How each text names the object that is edited.
        scene: Index of each triplet's scene in this batch, ``(N,)``.
        partner: Index among the scene's own triplets of one whose text means another place of the reference, ``(N,)``;
            -1 where there is none.
        reference_labels: What the references show where, ``(S, 3, size, size)`` uint8 (see
            :data:`~mmgrad_explain.data.scenes.LABELS`); None unless asked for.
        target_labels: What the targets show where, ``(N, 3, size, size)`` uint8; None unless asked for.
    """

    references: Tensor
    targets: Tensor
    reference_masks: Tensor
    target_masks: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    edits: list[str]
    texts: list[str]
    subjects: list[str]
    scene: Tensor
    partner: Tensor
    reference_labels: Tensor | None = None
    target_labels: Tensor | None = None


def contrast_partners(reference_masks: np.ndarray, target_masks: np.ndarray, edits: Sequence[str]) -> list[int]:
    """For each triplet of a scene, another one that means a different place.

    The places of both, in reference and target together and widened by two pixels, must be disjoint. ``add`` has no
    partner and is none: what it means is not in the reference yet.

    Args:
        reference_masks: ``(E, H, W)`` bool.
        target_masks: ``(E, H, W)`` bool.
        edits: The kinds of edit.

    Returns:
        For each triplet the index of the next one after it, in a circle, that fits; -1 where none does.
    """
    places = reference_masks | target_masks
    wide = np.pad(places, ((0, 0), (2, 2), (2, 2)))
    for axis in (1, 2):
        slices = [(slice(None),) * axis + (slice(i, wide.shape[axis] - 4 + i),) for i in range(5)]
        wide = np.logical_or.reduce([wide[part] for part in slices])
    count = len(edits)
    shared = wide.reshape(count, -1).astype(np.float32) @ places.reshape(count, -1).T.astype(np.float32)
    partners = []
    for index, edit in enumerate(edits):
        others = [(index + step) % count for step in range(1, count)]
        fits = (other for other in others if edit != "add" and edits[other] != "add" and not shared[index, other])
        partners.append(next(fits, -1))
    return partners


def scene_batch(
    seed: int,
    start: int,
    count: int,
    processor: ReferenceProcessor,
    *,
    edits: int = 4,
    labels: bool = False,
    options: SceneOptions | None = None,
) -> SceneBatch:
    """Scenes ``start`` to ``start + count - 1`` of the series ``seed``, drawn and encoded as ``processor`` has it.

    Args:
        seed: Names the series.
        start: Index of the first scene.
        count: Number of scenes.
        processor: Of the model; it decides the size of the pictures.
        edits: Edits of each scene.
        labels: Whether to draw the label maps.
        options: Which scenes; those of training if None.
    """
    drawn = scenes(
        seed,
        count,
        size=processor.image_size,
        edits=edits,
        start=start,
        labels=labels,
        options=options or SceneOptions(),
    )
    items = list(drawn)
    triplets = [triplet for scene in items for triplet in scene.triplets]
    input_ids, attention_mask = processor.encode_texts([t.text for t in triplets])
    reference_masks = np.stack([t.reference_mask for t in triplets])
    target_masks = np.stack([t.target_mask for t in triplets])
    kinds = [t.edit for t in triplets]
    partners: list[int] = []
    for first in range(0, len(triplets), edits):
        own = slice(first, first + edits)
        partners += contrast_partners(reference_masks[own], target_masks[own], kinds[own])
    return SceneBatch(
        references=processor.normalise(np.stack([scene.reference for scene in items])),
        targets=processor.normalise(np.stack([t.target for t in triplets])),
        reference_masks=torch.from_numpy(reference_masks),
        target_masks=torch.from_numpy(target_masks),
        input_ids=input_ids,
        attention_mask=attention_mask,
        edits=kinds,
        texts=[t.text for t in triplets],
        subjects=[t.subject for t in triplets],
        scene=torch.arange(count).repeat_interleave(edits),
        partner=torch.tensor(partners),
        reference_labels=_stacked([scene.labels for scene in items]),
        target_labels=_stacked([t.labels for t in triplets]),
    )


def _stacked(maps: Sequence[np.ndarray | None]) -> Tensor | None:
    drawn = [one for one in maps if one is not None]
    return torch.from_numpy(np.stack(drawn)) if drawn else None
