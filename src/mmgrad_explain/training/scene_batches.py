"""Procedural scenes as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmgrad_explain.data.scenes import scenes

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MEAN, STD = 0.5, 0.25
"""Of every channel; the model's input is ``(pixel / 255 - MEAN) / STD``."""


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


def pixels_to_tensor(pictures: np.ndarray) -> Tensor:
    """``(B, H, W, 3)`` uint8 to ``(B, 3, H, W)`` float32, normalised."""
    return ((torch.from_numpy(pictures).float() / 255 - MEAN) / STD).permute(0, 3, 1, 2).contiguous()


def scene_batch(
    seed: int, start: int, count: int, tokenizer: Tokenizer, *, size: int = 96, edits: int = 4, max_words: int = 24
) -> SceneBatch:
    """Scenes ``start`` to ``start + count - 1`` of the series ``seed``."""
    items = list(scenes(seed, count, size=size, edits=edits, start=start))
    triplets = [triplet for scene in items for triplet in scene.triplets]
    encoded = [tokenizer.encode(t.text).ids[:max_words] for t in triplets]
    ids = torch.zeros(len(triplets), max(map(len, encoded)), dtype=torch.long)
    for row, words in zip(ids, encoded, strict=True):
        row[: len(words)] = torch.tensor(words)
    return SceneBatch(
        references=pixels_to_tensor(np.stack([scene.reference for scene in items])),
        targets=pixels_to_tensor(np.stack([t.target for t in triplets])),
        reference_masks=torch.from_numpy(np.stack([t.reference_mask for t in triplets])),
        target_masks=torch.from_numpy(np.stack([t.target_mask for t in triplets])),
        input_ids=ids,
        attention_mask=(ids != 0).long(),
        edits=[t.edit for t in triplets],
        texts=[t.text for t in triplets],
        subjects=[t.subject for t in triplets],
        scene=torch.arange(count).repeat_interleave(edits),
    )
