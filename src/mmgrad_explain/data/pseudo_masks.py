"""Pseudo masks to train maps on without annotations: from the difference of two images' features, or from a phrase.

For boxes of a detector see :mod:`~mmgrad_explain.data.detections`. All return a :class:`PseudoMasks`, for the
grounding loss: ``loss(maps, pseudo.masks, supervised=pseudo.supervised)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from PIL import Image

SEGMENTER = "CIDAS/clipseg-rd64-refined"
"""A published CLIPSeg (Lüddecke & Ecker, arXiv 2112.10003) on the model hub; about 600 MB."""


@dataclass(frozen=True)
class PseudoMasks:
    """Automatic masks, one for each sample.

    Attributes:
        masks: ``(B, H, W)`` float32, values in [0, 1], covering the whole image; zeros where nothing was found.
        supervised: ``(B,)`` bool: whether a mask is good enough to train on.
        reasons: For each sample the reason why it is not supervised; None where it is.
    """

    masks: Tensor
    supervised: Tensor
    reasons: tuple[str | None, ...]

    def summarize(self) -> str:
        """Summarize in one line how many samples have a mask, and why others have none, most frequent reason first."""
        reasons = [reason for reason in self.reasons if reason is not None]
        counts = sorted(((reasons.count(reason), reason) for reason in set(reasons)), reverse=True)
        found = f"{len(self.reasons) - len(reasons)} of {len(self.reasons)} samples have a mask"
        return "; ".join([found, *(f"{count} without: {reason}" for count, reason in counts)])


def difference_masks(
    reference: Tensor,
    target: Tensor,
    *,
    threshold: str | float | None = "otsu",
    components: int | None = None,
    least: float = 0.02,
    most: float = 0.5,
) -> PseudoMasks:
    """Mark the cells where the features of a reference and its target differ.

    The value of a cell is the cosine distance of the two feature vectors, scaled for each image so that the median is 0
    and the 99th percentile 1. A feature depends on the surroundings of its cell, so masks are wider than the change.

    Args:
        reference: Features of the references, ``(B, K, h, w)``, from any layer of any encoder (``to_grid`` gives a
            layer's output this shape).
        target: Features of the targets from the same layer, likewise.
        threshold: ``"otsu"`` cuts where the two sides' means are furthest apart (Otsu, IEEE Trans. SMC 1979); a number
            in (0, 1) cuts there; None leaves the mask soft.
        components: Number of connected parts to keep, those with the largest total difference; None keeps all.
        least: Smallest cosine distance between the median and the 99th percentile that counts as a difference.
        most: Largest share of the cells that may be marked (of a soft mask: the cells above one half), and largest
            share of the 99th percentile that the median may reach. More is no edit of an object but another image.

    Raises:
        InputError: If shapes differ, the features are not finite, or an option is out of its range.
    """
    if reference.dim() != 4 or reference.shape != target.shape or reference[0, 0].numel() < 2:
        raise InputError(
            f"features of reference and target must both be (B, K, h, w) with two cells or more, got "
            f"{tuple(reference.shape)} and {tuple(target.shape)}"
        )
    cut = threshold if isinstance(threshold, int | float) else 0.5
    if not (threshold is None or threshold == "otsu" or (not isinstance(threshold, str) and 0 < cut < 1)):
        raise InputError(f"threshold must be 'otsu', a number between 0 and 1, or None, got {threshold!r}")
    if components is not None and components < 1:
        raise InputError(f"components must be at least 1, or None, got {components}")
    if not bool(reference.isfinite().all() & target.isfinite().all()):
        raise InputError("features are not finite: check the encoder; in half precision try bfloat16 or float32")
    distance = 1 - F.cosine_similarity(reference.float(), target.float(), dim=1)
    flat = distance.flatten(1)
    low, high = flat.median(1).values[:, None], flat.quantile(0.99, dim=1)[:, None]
    soft = ((flat - low) / (high - low).clamp(min=torch.finfo(flat.dtype).eps)).clamp(0, 1)
    cuts = _otsu(soft) if threshold == "otsu" else torch.full_like(low, cut)
    marked = (soft > cuts).view_as(distance)
    masks = soft.view_as(distance) if threshold is None else marked.float()
    if components is not None:
        kept = torch.stack([_largest(*pair, components) for pair in zip(marked, distance, strict=True)])
        masks, marked = masks * kept, marked & kept
    reasons = [
        _find_reason(float(of_median), float(of_most), float(share), least, most)
        for of_median, of_most, share in zip(low[:, 0], high[:, 0], marked.float().mean((1, 2)), strict=True)
    ]
    return _make_pseudo_masks(masks, reasons)


def _find_reason(low: float, high: float, share: float, least: float, most: float) -> str | None:
    if high - low < least and low < least:
        return f"the features hardly differ (cosine distance below {least:g})"
    if share > most or low > most * high:
        return "the features differ nearly everywhere"
    return None


def _otsu(values: Tensor) -> Tensor:
    """Find the cut of each row with the largest between-class variance, ``(B, N)`` to ``(B, 1)``."""
    ordered = values.sort(1).values
    count = ordered.shape[1]
    below = torch.arange(1, count, device=values.device)
    sums = ordered.cumsum(1)
    mean_below = sums[:, :-1] / below
    mean_above = (sums[:, -1:] - sums[:, :-1]) / (count - below)
    best = (below * (count - below) * (mean_above - mean_below).square()).argmax(1, keepdim=True)
    return (ordered.gather(1, best) + ordered.gather(1, best + 1)) / 2


def _largest(marked: Tensor, weight: Tensor, count: int) -> Tensor:
    """Keep the ``count`` connected parts of a mask with the largest sum of ``weight``; corners connect."""
    import cv2

    number, labels = cv2.connectedComponents(marked.cpu().numpy().astype(np.uint8), connectivity=8)
    sums = np.bincount(labels.ravel(), weights=weight.cpu().numpy().ravel().astype(np.float64), minlength=number)
    best = 1 + np.argsort(-sums[1:], kind="stable")[:count]
    return torch.from_numpy(np.isin(labels, best)).to(marked.device)


class ReferringSegmenter:
    """Marks the object of a phrase: CLIPSeg (Lüddecke & Ecker, arXiv 2112.10003) through transformers.

    Args:
        model: A ``CLIPSegForImageSegmentation``.
        processor: Its ``CLIPSegProcessor``, which must resize images to a square without cropping.
        device: Where to run; None leaves the model where it is.
    """

    def __init__(self, model: Any, processor: Any, device: torch.device | str | None = None) -> None:
        self.model = (model if device is None else model.to(device)).eval()
        self.processor = processor

    @classmethod
    def from_pretrained(
        cls, model: str | os.PathLike[str] = SEGMENTER, device: torch.device | str | None = None
    ) -> ReferringSegmenter:
        """Load a CLIPSeg.

        Args:
            model: A local folder with model and processor, or a hub id ``owner/name``. A folder that exists is never
                looked for on the hub.
            device: Where to run; None is the CPU.

        Raises:
            InputError: It cannot be fetched, is not a CLIPSeg, or its files cannot be read.
        """
        from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

        from mmgrad_explain.composers.files import read_config
        from mmgrad_explain.composers.load import fetch

        folder = Path(model).expanduser()
        if not folder.is_dir():
            hub_id = str(model)
            if hub_id.count("/") != 1 or hub_id.startswith((".", "/", "~")):
                raise InputError(f"no model {hub_id!r}: give a folder, or a hub id owner/name such as {SEGMENTER}")
            folder = fetch(hub_id, ("*.json", "*.txt", "*.safetensors"), "give a local folder")
        kind = read_config(folder).get("model_type")
        if kind != "clipseg":
            raise InputError(f"{model} is a {kind!r} model; referring segmentation takes a 'clipseg' model")
        try:
            network = CLIPSegForImageSegmentation.from_pretrained(folder)
            return cls(network, CLIPSegProcessor.from_pretrained(folder), device)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise InputError(f"{model} holds no usable CLIPSeg: {str(error).splitlines()[0]}") from error

    @torch.inference_mode()
    def __call__(
        self,
        images: Sequence[Image.Image],
        phrases: Sequence[str],
        *,
        threshold: float | None = None,
        least: float = 0.3,
        batch: int = 8,
    ) -> PseudoMasks:
        """Mark the object of each phrase in its image.

        Args:
            images: RGB images of any size.
            phrases: The object to mark in each: ``"the red dress"``. Name the object, not the change: ``"dress"`` for
                ``"make the dress blue"``.
            threshold: Cut the probabilities here, in (0, 1); None leaves the masks soft.
            least: A mask with no probability above this is not supervised.
            batch: Images in one forward pass.

        Returns:
            Masks at the model's resolution, each over the whole image, whatever its shape.

        Raises:
            InputError: There are not as many phrases as images, a phrase is empty, or an option is out of range.
        """
        if len(images) != len(phrases) or not images:
            raise InputError(f"give one phrase for each image, got {len(images)} images and {len(phrases)} phrases")
        empty = [index for index, phrase in enumerate(phrases) if not phrase.strip()]
        if empty:
            raise InputError(f"phrases: number {empty[0]} is empty; say what to mark, such as 'the red dress'")
        if threshold is not None and not 0 < threshold < 1:
            raise InputError(f"threshold must be a number between 0 and 1, or None, got {threshold}")
        parts = [
            self._probabilities(images[i : i + batch], phrases[i : i + batch]) for i in range(0, len(images), batch)
        ]
        soft = torch.cat(parts)
        peaks = soft.amax((1, 2)).tolist()
        reasons = [None if peak >= least else f"nothing is marked with at least {least:g}" for peak in peaks]
        return _make_pseudo_masks(soft if threshold is None else (soft >= threshold).float(), reasons)

    def _probabilities(self, images: Sequence[Image.Image], phrases: Sequence[str]) -> Tensor:
        inputs = self.processor(
            text=list(phrases), images=list(images), return_tensors="pt", padding=True, truncation=True
        )
        device = next(self.model.parameters()).device
        logits: Tensor = self.model(**{name: value.to(device) for name, value in inputs.items()}).logits
        return logits.float().sigmoid().reshape(len(images), *logits.shape[-2:]).clone()


def _make_pseudo_masks(masks: Tensor, reasons: Sequence[str | None]) -> PseudoMasks:
    """Clear the masks that have a reason or mark nothing, and collect all of them."""
    dark = (masks.amax((1, 2)) <= 0).tolist()
    why = tuple(reason or ("nothing is marked" if empty else None) for reason, empty in zip(reasons, dark, strict=True))
    supervised = torch.tensor([reason is None for reason in why], device=masks.device)
    return PseudoMasks(torch.where(supervised[:, None, None], masks, 0), supervised, why)
