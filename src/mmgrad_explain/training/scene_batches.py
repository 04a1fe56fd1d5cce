"""Procedural scenes as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mmgrad_explain.data.scenes import scenes

if TYPE_CHECKING:
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


def scene_batch(seed: int, start: int, count: int, processor: ReferenceProcessor, *, edits: int = 4) -> SceneBatch:
    """Scenes ``start`` to ``start + count - 1`` of the series ``seed``, drawn and encoded as ``processor`` has it."""
    items = list(scenes(seed, count, size=processor.image_size, edits=edits, start=start))
    triplets = [triplet for scene in items for triplet in scene.triplets]
    input_ids, attention_mask = processor.encode_texts([t.text for t in triplets])
    return SceneBatch(
        references=processor.normalise(np.stack([scene.reference for scene in items])),
        targets=processor.normalise(np.stack([t.target for t in triplets])),
        reference_masks=torch.from_numpy(np.stack([t.reference_mask for t in triplets])),
        target_masks=torch.from_numpy(np.stack([t.target_mask for t in triplets])),
        input_ids=input_ids,
        attention_mask=attention_mask,
        edits=[t.edit for t in triplets],
        texts=[t.text for t in triplets],
        subjects=[t.subject for t in triplets],
        scene=torch.arange(count).repeat_interleave(edits),
    )
