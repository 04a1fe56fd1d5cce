"""Generated scenes as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mmgrad_explain.data.scenes.contrast import find_contrast_partners
from mmgrad_explain.data.scenes.options import SceneOptions
from mmgrad_explain.data.scenes.scene import scenes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mmgrad_explain.composers.reference.processor import ReferenceProcessor


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
        texts: Modifier text of each edit.
        subjects: Description of the edited object in each text.
        scene: Index of each triplet's scene in this batch, ``(N,)``.
        partner: Index, within the scene, of a triplet with a disjoint region, ``(N,)``; -1 where there is none.
        reference_labels: What the references show where, ``(S, 3, size, size)`` uint8 (see
            :data:`~mmgrad_explain.data.scenes.scene.LABELS`); None unless asked for.
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
    """Draw scenes ``start`` to ``start + count - 1`` of the series ``seed``, and encode them with a processor.

    Args:
        seed: Names the series.
        start: Index of the first scene.
        count: Number of scenes.
        processor: The model's; it decides the size of the images.
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
        partners += find_contrast_partners(reference_masks[own], target_masks[own], kinds[own])
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
        reference_labels=_stack([scene.labels for scene in items]),
        target_labels=_stack([t.labels for t in triplets]),
    )


def _stack(maps: Sequence[np.ndarray | None]) -> Tensor | None:
    drawn = [one for one in maps if one is not None]
    return torch.from_numpy(np.stack(drawn)) if drawn else None
