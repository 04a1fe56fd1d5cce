"""Retrieval, localization and faithfulness of a composer on triplets with masks, such as edits of photographs."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgrad_explain.data.triplets import read_pixels
from mmgrad_explain.errors import InputError
from mmgrad_explain.evaluation.faithfulness import Faithfulness, collect_candidates, measure_faithfulness
from mmgrad_explain.evaluation.figures import TripletFigures, measure_recall
from mmgrad_explain.evaluation.maps import MapDrawer, MapKind, default_kind, unit_embeddings
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.metrics.floors import best_fixed_point, centre_gaussian, chance, image_centre
from mmgrad_explain.metrics.localization import contrast_accuracy
from mmgrad_explain.metrics.map_figures import figure_names, measure_maps
from mmgrad_explain.notes import texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from PIL import Image

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.evaluation.triplet_inputs import PhotoTriplet
    from mmgrad_explain.images.placement import Placement

TOUCHING = 0.01
"""Regions are disjoint if they share at most this part of the smaller one, since annotated outlines touch."""


def evaluate_triplets(
    composer: Composer,
    triplets: Sequence[PhotoTriplet],
    *,
    kinds: Sequence[MapKind] | None = None,
    batch: int = 16,
) -> TripletFigures:
    """Evaluate a composer on triplets; maps are measured on the images' own pixels.

    Args:
        composer: The composer.
        triplets: At least one.
        kinds: The maps to measure; the composer's default when None.
        batch: Triplets that go through the composer together.

    Raises:
        InputError: There are no triplets, or a mask does not have the size of its image.
    """
    kinds = list(kinds or [default_kind(composer)])
    measured = _MeasuredMaps(triplets, [kind.name for kind in kinds])
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    notices: dict[str, None] = {}
    drawer = MapDrawer(composer, kinds)
    for start in range(0, len(triplets), batch):
        part = triplets[start : start + batch]
        references, targets = _open_images(part)
        inputs = composer.preprocess(references, [triplet.text for triplet in part], targets)
        notices.update(dict.fromkeys(texts_of(inputs.notices)))
        on_target = torch.tensor([triplet.on_target for triplet in part])
        grids, output = drawer.draw(inputs.tensors, on_target)
        parts.append(unit_embeddings(output))
        for i, triplet in enumerate(part):
            placement = (inputs.target_placements or [])[i] if triplet.on_target else inputs.placements[i]
            for kind in kinds:
                measured.add(start + i, kind.name, _resize_to_image(grids[kind][i], placement))
    query, target, reference = (torch.cat(values) for values in zip(*parts, strict=True))
    first, image_of = _group_by_image(triplets)
    recall, sibling_recall = measure_recall(query, target, reference[first], image_of, torch.arange(len(first)))
    return measured.figures(
        recall=recall, sibling_recall=sibling_recall, gallery=len(query) + len(first), notices=list(notices)
    )


def triplet_faithfulness(
    composer: Composer,
    triplets: Sequence[PhotoTriplet],
    *,
    kinds: Sequence[MapKind] | None = None,
    steps: int = 10,
) -> dict[MapKind, Faithfulness]:
    """Measure the faithfulness of maps on reference images; triplets that are measured on the target are left out.

    Args:
        composer: The composer; its ``forward`` takes the images as ``pixel_values``.
        triplets: All go through the composer together.
        kinds: The maps to measure; the composer's default when None.
        steps: Steps of the curves.

    Raises:
        InputError: No triplet is left.
    """
    kept = [triplet for triplet in triplets if not triplet.on_target]
    if not kept:
        raise InputError("triplets: none is measured on its reference")
    references, targets = _open_images(kept)
    tensors = composer.preprocess(references, [triplet.text for triplet in kept], targets).tensors
    with torch.no_grad():
        _, target, reference = unit_embeddings(composer(**tensors))
    candidates = collect_candidates(target, reference, _group_by_image(kept)[1])
    return measure_faithfulness(composer, tensors, list(kinds or [default_kind(composer)]), candidates, steps=steps)


def floor_figures(triplets: Sequence[PhotoTriplet]) -> dict[str, TripletFigures]:
    """Measure what maps that know nothing reach on the same triplets.

    Returns:
        ``"random pixel"`` (and a flat map), ``"image centre"``, ``"best fixed point"`` (chosen on these masks) and
        ``"centre Gaussian"``, as figures of one map each, named like the floor; figures that a floor does not have are
        NaN.
    """
    masks = [torch.from_numpy(triplet.mask) for triplet in triplets]
    y, x = best_fixed_point(masks)[1]
    best = torch.stack([mask[int(y * mask.shape[0]), int(x * mask.shape[1])].float() for mask in masks])
    covered = chance(masks)
    known = {
        "random pixel": {"pointing": covered, "energy": covered, "auc": torch.full_like(covered, 0.5)},
        "image centre": {"pointing": image_centre(masks)},
        "best fixed point": {"pointing": best},
    }
    measured = _MeasuredMaps(triplets, [*known, "centre Gaussian"])
    for name, values in known.items():
        measured.maps[name].update(values)
    for i, mask in enumerate(masks):
        measured.add(i, "centre Gaussian", centre_gaussian(mask.shape[0], mask.shape[1]))
    figures = measured.figures()
    figures.contrast["random pixel"].fill_(0.5)
    return {
        name: replace(figures, maps={name: figures.maps[name]}, contrast={name: figures.contrast[name]})
        for name in figures.maps
    }


class _MeasuredMaps:
    """Collects the figures of maps, each on its own image's pixels."""

    def __init__(self, triplets: Sequence[PhotoTriplet], names: Iterable[str]) -> None:
        if not triplets:
            raise InputError("triplets: there are none; give at least one")
        self.triplets = triplets
        names = list(names)
        empty = torch.full((len(triplets),), float("nan"))
        self.maps = {name: {figure: empty.clone() for figure in figure_names(full_size=True)} for name in names}
        self.contrast: dict[str, dict[tuple[int, int], float]] = {name: {} for name in names}
        self.partners: dict[int, list[int]] = {}
        for i, j in _pairs(triplets):
            self.partners.setdefault(i, []).append(j)

    def add(self, index: int, name: str, heat: Tensor) -> None:
        """Measure a map ``(H, W)`` of a triplet."""
        triplet = self.triplets[index]
        if heat.shape != triplet.mask.shape:
            raise InputError(
                f"triplet {triplet.id}: the mask is {triplet.mask.shape[1]} x {triplet.mask.shape[0]} pixels, its "
                f"image {heat.shape[1]} x {heat.shape[0]}"
            )
        maps, masks = heat[None], torch.from_numpy(triplet.mask)[None]
        for figure, value in measure_maps(maps, masks, full_size=True).items():
            self.maps[name][figure][index] = value[0]
        for other in self.partners.get(index, []):
            others = torch.from_numpy(self.triplets[other].mask)[None]
            self.contrast[name][index, other] = float(contrast_accuracy(maps, masks, others))

    def figures(self, **more: Any) -> TripletFigures:
        """Put all figures together; contrast in the order of the pairs."""
        pairs = [(i, j) for i, others in self.partners.items() for j in others]
        return TripletFigures(
            edits=[triplet.edit for triplet in self.triplets],
            on_target=torch.tensor([triplet.on_target for triplet in self.triplets]),
            maps=self.maps,
            contrast={
                name: torch.tensor([of.get(pair, float("nan")) for pair in pairs]) for name, of in self.contrast.items()
            },
            contrast_of=torch.tensor([i for i, _ in pairs], dtype=torch.long),
            **more,
        )


def _open_images(triplets: Sequence[PhotoTriplet]) -> tuple[list[Image.Image], list[Image.Image]]:
    """Read references and targets."""
    return [_open(triplet.reference) for triplet in triplets], [_open(triplet.target) for triplet in triplets]


def _open(source: Any) -> Image.Image:
    return open_image(read_pixels(source) if isinstance(source, str | os.PathLike) else source)


def _resize_to_image(grid: Tensor, placement: Placement) -> Tensor:
    return torch.from_numpy(placement.to_original(grid.cpu().numpy()))


def _group_by_image(triplets: Sequence[PhotoTriplet]) -> tuple[list[int], Tensor]:
    """Find the first triplet of each reference image, and the number of each triplet's image among these."""
    names = [triplet.reference_name for triplet in triplets]
    images = list(dict.fromkeys(names))
    return [names.index(name) for name in images], torch.tensor([images.index(name) for name in names])


def _pairs(triplets: Sequence[PhotoTriplet]) -> list[tuple[int, int]]:
    """Find the ordered pairs of disjoint regions of one image, among triplets that are measured on the reference."""
    groups: dict[str, list[int]] = {}
    for i, triplet in enumerate(triplets):
        if not triplet.on_target:
            groups.setdefault(triplet.reference_name, []).append(i)
    return [
        (i, j)
        for members in groups.values()
        for i in members
        for j in members
        if i != j and _are_disjoint(triplets[i].mask, triplets[j].mask)
    ]


def _are_disjoint(first: np.ndarray, second: np.ndarray) -> bool:
    if first.shape != second.shape:
        return False
    smaller = min(int(first.sum()), int(second.sum()))
    return smaller > 0 and int((first & second).sum()) <= TOUCHING * smaller
