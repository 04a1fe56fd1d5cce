"""A small detector of garments: a linear classifier of the cells of a frozen trunk, and boxes of what it finds.

It stands for a detector that somebody else trained: its labelled photographs are others than those that it is run on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.images.placement import fit
from mmgrad_explain.training.sources.photo_folder import PhotoFolder
from mmgrad_explain.training.trunk_weights import load_trunk_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from mmgrad_explain.images.placement import Placement

TRUNK: dict[str, Any] = {
    "backbone": "mobilenetv2_100", "backbone_options": {"pad_type": "same"}, "taps": (2, 3, 4), "frozen_norm": True,
    "mean": 0.5, "std": 0.5,
}  # fmt: skip
"""Sizes of a network on an ImageNet MobileNetV2 of TensorFlow."""

_SIDE, _CELLS = 384, 24  # pixels and cells of a side
_STEPS, _TOGETHER = 400, 8192  # of cells
_LEAST = 0.2  # least probability of a box's brightest cell


class GarmentDetector:
    """Finds what labelled photographs taught.

    Args:
        weights: The trunk's weights, a safetensors file.
        folder: Photographs with labels.
        twins: File of names of photographs that are there twice.
        without: Names of photographs that it must not see.
    """

    def __init__(self, weights: Path, folder: Path, twins: str, without: Iterable[str]) -> None:
        sizes = NetworkConfig(image_size=_SIDE, **TRUNK)
        self._trunk = build_network(sizes).visual.eval()
        load_trunk_weights(self._trunk, sizes, str(weights))
        photos = PhotoFolder(folder, twins=twins)
        self.names = photos.names
        others = set(without)
        used = [i for i, file in enumerate(photos.files) if file.photo.stem not in others]
        self.count = len(used)
        features, labels = [], []
        for pixels, of in (photos[i] for i in used):
            made, placement = self._look(pixels)
            features.append(made)
            labels.append(torch.from_numpy(_cells_of(of, placement)))
        self._head = _fit(torch.cat(features), torch.cat(labels).long(), len(self.names))

    def find(self, pixels: npt.NDArray[np.uint8]) -> list[tuple[list[float], float, int]]:
        """Find boxes in pixels, with their probability and label: of each label the one at its brightest cell."""
        features, placement = self._look(pixels)
        weight, bias = self._head
        found = []
        shares = (features @ weight + bias).softmax(1).T.reshape(-1, _CELLS, _CELLS).numpy()
        for label, share in enumerate(shares[1:], 1):
            peak = float(share.max())
            if peak < _LEAST:
                continue
            _, parts = cv2.connectedComponents((share >= peak / 2).astype(np.uint8), connectivity=4)
            mask = parts == parts[np.unravel_index(share.argmax(), share.shape)]
            back = placement.to_original(mask.astype(np.float32)) >= 0.5
            if back.any():
                rows, columns = np.flatnonzero(back.any(1)), np.flatnonzero(back.any(0))
                box = [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
                found.append((box, peak, label))
        return found

    def _look(self, pixels: npt.NDArray[np.uint8]) -> tuple[Tensor, Placement]:
        """Return the features of all cells, ``(cells, C)``, and where the image lies in them."""
        fitted, placement = fit(Image.fromarray(pixels), _SIDE)
        tensor = torch.from_numpy(np.asarray(fitted).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            maps = self._trunk(tensor)
        size = (_CELLS, _CELLS)
        same = [F.adaptive_avg_pool2d(maps[0], size), maps[1], F.interpolate(maps[2], size=size, mode="bilinear")]
        return torch.cat([one * (one.shape[1] ** -0.5) for one in same], 1)[0].flatten(1).T.contiguous(), placement


def write_detections(
    file: Path, images: Sequence[Path], detector: GarmentDetector, words: Mapping[str, Sequence[str]]
) -> None:
    """Write what a detector finds in images; a box comes once for each word for its label."""
    found = {}
    for image in images:
        boxes = detector.find(np.asarray(Image.open(image).convert("RGB")))
        found[image.name] = [
            [*box, score, word]
            for box, score, label in boxes
            for word in (detector.names[label], *words.get(detector.names[label], ()))
        ]
    file.write_text(json.dumps(found))


def _cells_of(labels: npt.NDArray[np.uint8], placement: Placement) -> npt.NDArray[np.int64]:
    """Return the label at the middle of each cell; the background beside the image."""
    middles = (np.arange(_CELLS) + 0.5) * _SIDE / _CELLS
    rows, columns = (
        np.floor((middles - offset) / scale).astype(int)
        for offset, scale in zip(placement.offset, placement.scale, strict=True)
    )
    inside = ((rows >= 0) & (rows < labels.shape[0]))[:, None] & ((columns >= 0) & (columns < labels.shape[1]))[None]
    there = labels[np.ix_(rows.clip(0, labels.shape[0] - 1), columns.clip(0, labels.shape[1] - 1))]
    return np.where(inside, there, 0).astype(np.int64).ravel()


def _fit(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Fit a linear classifier; a rare label counts as if it were not so rare."""
    torch.manual_seed(0)
    scale = features.std(0).clamp(min=1e-6)
    centre = features.mean(0)
    weight = torch.zeros(features.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    share = (torch.bincount(labels, minlength=classes) / len(labels)).clamp(min=1e-5)
    optimizer = torch.optim.AdamW([weight, bias], lr=3e-3, weight_decay=0.1)
    for _ in range(_STEPS):
        rows = torch.randint(len(labels), (_TOGETHER,))
        logits = ((features[rows] - centre) / scale) @ weight + bias
        loss = F.cross_entropy(logits, labels[rows], weight=share**-0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        final = weight / scale[:, None]
        return final.detach(), (bias - centre @ final).detach()
