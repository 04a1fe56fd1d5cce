"""Retrieval, localization and faithfulness of a composer on triplets of pictures with masks, such as photo edits."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.data.triplets import read_pixels
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.maps import (
    FIGURES,
    Faithfulness,
    MapKind,
    default_kind,
    draw_maps,
    embeddings,
    faithfulness,
    judge,
    sibling_candidates,
)
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.metrics.floors import best_fixed_point, centre_gaussian, chance, image_centre
from mmgrad_explain.metrics.localization import contrast_accuracy, roc_auc
from mmgrad_explain.metrics.report import mean_of
from mmgrad_explain.metrics.retrieval import recall_at, target_rank
from mmgrad_explain.notes import texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from PIL import Image

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet
    from mmgrad_explain.images.placement import Placement

PHOTO_FIGURES = (*FIGURES, "auc")
"""What is measured of every map of a photograph: the area under the precision-recall curve as well."""

TOUCHING = 0.01
"""Regions still lie apart where they share at most so much of the smaller one: annotated outlines touch."""


@dataclass(frozen=True)
class TripletFigures:
    """Per-triplet figures, ``N`` triplets.

    Attributes:
        edits: Kind of each edit.
        on_target: Which maps were judged on the target, ``(N,)`` bool.
        maps: For every map, by name: :data:`PHOTO_FIGURES`, each ``(N,)``, on the pictures' own pixels.
        contrast: For every map: whether it tells the texts of two disjoint regions of one picture apart, ``(P,)`` over
            ordered pairs; empty where there are none.
        contrast_of: Which triplet the first text of each pair belongs to, ``(P,)``.
        recall: R@1 among all targets and references, ``(N,)``; None for maps that come from no model.
        sibling_recall: R@1 among the picture's own targets and itself, ``(N,)``.
        gallery: Number of pictures to choose from.
        notices: What the model had to say about the texts, each once.
    """

    edits: list[str]
    on_target: Tensor
    maps: dict[str, dict[str, Tensor]]
    contrast: dict[str, Tensor]
    contrast_of: Tensor
    recall: Tensor | None = None
    sibling_recall: Tensor | None = None
    gallery: int = 0
    notices: list[str] = field(default_factory=list)

    def means(self, name: str, rows: Tensor | None = None) -> dict[str, float]:
        """Means of one map's figures, contrast among them, over some triplets (``(N,)`` bool) or all."""
        rows = torch.ones(len(self.edits), dtype=torch.bool) if rows is None else rows
        means = {figure: mean_of(values[rows]) for figure, values in self.maps[name].items()}
        return {**means, "contrast": mean_of(self.contrast[name][rows[self.contrast_of]])}

    def by_edit(self, values: Tensor) -> dict[str, float]:
        """Mean of per-triplet values for each kind of edit."""
        kinds = sorted(set(self.edits))
        return {kind: float(values[[edit == kind for edit in self.edits]].mean()) for kind in kinds}


def evaluate_triplets(
    composer: Composer,
    triplets: Sequence[PhotoTriplet],
    *,
    kinds: Sequence[MapKind] | None = None,
    batch: int = 16,
) -> TripletFigures:
    """Evaluate a composer on triplets; maps are judged on the pictures' own pixels.

    Args:
        composer: The model.
        triplets: At least one.
        kinds: Which maps; the composer's own when None.
        batch: Triplets that go through the model together.

    Raises:
        InputError: If there are no triplets, or a mask has not the size of its picture.
    """
    kinds = list(kinds or [default_kind(composer)])
    judged = _Judged(triplets, [kind.name for kind in kinds])
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    notices: dict[str, None] = {}
    for start in range(0, len(triplets), batch):
        some = triplets[start : start + batch]
        images, targets = _pictures(some)
        inputs = composer.preprocess(images, [one.text for one in some], targets)
        notices.update(dict.fromkeys(texts_of(inputs.notices)))
        on_target = torch.tensor([one.on_target for one in some])
        grids, output = draw_maps(composer, inputs.tensors, on_target, kinds)
        parts.append(embeddings(output))
        for i, one in enumerate(some):
            placement = (inputs.target_placements or [])[i] if one.on_target else inputs.placements[i]
            for kind in kinds:
                judged.add(start + i, kind.name, _on_picture(grids[kind][i], placement))
    query, target, reference = (torch.cat(values) for values in zip(*parts, strict=True))
    groups, first, group = _groups(triplets)
    similarity, truth = query @ torch.cat([target, reference[first]]).T, torch.arange(len(query))
    siblings = group[:, None] == torch.cat([group, torch.arange(len(groups))])[None]
    return judged.figures(
        recall=recall_at(target_rank(similarity, truth), 1),
        sibling_recall=recall_at(target_rank(similarity, truth, siblings), 1),
        gallery=len(query) + len(groups),
        notices=list(notices),
    )


def triplet_faithfulness(
    composer: Composer,
    triplets: Sequence[PhotoTriplet],
    *,
    kinds: Sequence[MapKind] | None = None,
    steps: int = 10,
) -> dict[MapKind, Faithfulness]:
    """Faithfulness of maps on reference pictures; triplets judged on the target are left out.

    Args:
        composer: The model; its ``forward`` takes the pictures as ``pixel_values``.
        triplets: All go through the model together.
        kinds: Which maps; the composer's own when None.
        steps: Steps of the curves.

    Raises:
        InputError: If no triplet is left.
    """
    kept = [one for one in triplets if not one.on_target]
    if not kept:
        raise InputError("triplets: none is judged on its reference")
    images, targets = _pictures(kept)
    tensors = composer.preprocess(images, [one.text for one in kept], targets).tensors
    with torch.no_grad():
        _, target, reference = embeddings(composer(**tensors))
    candidates = sibling_candidates(target, reference, _groups(kept)[2])
    return faithfulness(composer, tensors, list(kinds or [default_kind(composer)]), candidates, steps=steps)


def floor_figures(triplets: Sequence[PhotoTriplet]) -> dict[str, TripletFigures]:
    """What maps that know nothing reach on the same triplets.

    Returns:
        ``"random pixel"`` (and a flat map), ``"image centre"``, ``"best fixed point"`` (chosen on these very masks) and
        ``"centre Gaussian"``, as figures of one map each, named like the floor; what a floor does not have is NaN.
    """
    masks = [torch.from_numpy(one.mask) for one in triplets]
    y, x = best_fixed_point(masks)[1]
    best = torch.stack([mask[int(y * mask.shape[0]), int(x * mask.shape[1])].float() for mask in masks])
    covered = chance(masks)
    known = {
        "random pixel": {"pointing": covered, "energy": covered, "auc": torch.full_like(covered, 0.5)},
        "image centre": {"pointing": image_centre(masks)},
        "best fixed point": {"pointing": best},
    }
    judged = _Judged(triplets, [*known, "centre Gaussian"])
    for name, values in known.items():
        judged.maps[name].update(values)
    for i, mask in enumerate(masks):
        judged.add(i, "centre Gaussian", centre_gaussian(mask.shape[0], mask.shape[1]))
    every = judged.figures()
    every.contrast["random pixel"].fill_(0.5)
    return {
        name: replace(every, maps={name: every.maps[name]}, contrast={name: every.contrast[name]})
        for name in every.maps
    }


class _Judged:
    """Collects the figures of maps, each on its own picture's pixels."""

    def __init__(self, triplets: Sequence[PhotoTriplet], names: Iterable[str]) -> None:
        if not triplets:
            raise InputError("triplets: there are none; give at least one")
        self.triplets = triplets
        names = list(names)
        empty = torch.full((len(triplets),), float("nan"))
        self.maps = {name: {figure: empty.clone() for figure in PHOTO_FIGURES} for name in names}
        self.contrast: dict[str, dict[tuple[int, int], float]] = {name: {} for name in names}
        self.partners: dict[int, list[int]] = {}
        for i, j in _pairs(triplets):
            self.partners.setdefault(i, []).append(j)

    def add(self, index: int, name: str, heat: Tensor) -> None:
        """Judge a map ``(H, W)``."""
        one = self.triplets[index]
        if heat.shape != one.mask.shape:
            raise InputError(
                f"triplet {one.id}: the mask is {one.mask.shape[1]} x {one.mask.shape[0]} pixels, its picture "
                f"{heat.shape[1]} x {heat.shape[0]}"
            )
        maps, masks = heat[None], torch.from_numpy(one.mask)[None]
        for figure, value in {**judge(maps, masks), "auc": roc_auc(maps, masks)}.items():
            self.maps[name][figure][index] = value[0]
        for other in self.partners.get(index, []):
            apart = torch.from_numpy(self.triplets[other].mask)[None]
            self.contrast[name][index, other] = float(contrast_accuracy(maps, masks, apart))

    def figures(self, **more: Any) -> TripletFigures:
        """All figures; contrast in the order of the pairs."""
        pairs = [(i, j) for i, others in self.partners.items() for j in others]
        return TripletFigures(
            edits=[one.edit for one in self.triplets],
            on_target=torch.tensor([one.on_target for one in self.triplets]),
            maps=self.maps,
            contrast={
                name: torch.tensor([of.get(pair, float("nan")) for pair in pairs]) for name, of in self.contrast.items()
            },
            contrast_of=torch.tensor([i for i, _ in pairs], dtype=torch.long),
            **more,
        )


def _pictures(triplets: Sequence[PhotoTriplet]) -> tuple[list[Image.Image], list[Image.Image]]:
    """References and targets, read when needed."""
    first, second = ([_opened(getattr(one, side)) for one in triplets] for side in ("reference", "target"))
    return first, second


def _opened(source: Any) -> Image.Image:
    return open_image(read_pixels(source) if isinstance(source, str | os.PathLike) else source)


def _on_picture(grid: Tensor, placement: Placement) -> Tensor:
    return torch.from_numpy(placement.to_original(grid.cpu().numpy()))


def _groups(triplets: Sequence[PhotoTriplet]) -> tuple[list[str], list[int], Tensor]:
    """The reference pictures, the first triplet of each, and which of them each triplet has."""
    names = [one.picture for one in triplets]
    groups = list(dict.fromkeys(names))
    return groups, [names.index(name) for name in groups], torch.tensor([groups.index(name) for name in names])


def _pairs(triplets: Sequence[PhotoTriplet]) -> list[tuple[int, int]]:
    """Ordered pairs of regions of one picture that lie apart, without what is judged on the target."""
    groups: dict[str, list[int]] = {}
    for i, one in enumerate(triplets):
        if not one.on_target:
            groups.setdefault(one.picture, []).append(i)
    return [
        (i, j)
        for members in groups.values()
        for i in members
        for j in members
        if i != j and _apart(triplets[i].mask, triplets[j].mask)
    ]


def _apart(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    smaller = min(int(one.sum()), int(other.sum()))
    return smaller > 0 and int((one & other).sum()) <= TOUCHING * smaller
